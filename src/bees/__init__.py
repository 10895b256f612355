"""BEES: federated learning on a shared ledger at the wireless edge.

    import bees

    result = bees.run(bees.load_scenario("quick"))
    print(result.accuracy[-1])

``bees.run`` and what it needs load on first use, so that importing ``bees`` is cheap.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bees.core.errors import BeesError
    from bees.results import RoundRow, RunResult
    from bees.runner import run
    from bees.scenario import Scenario
    from bees.scenario_file import load_scenario

__version__ = version("bees-edge")
__all__ = ["BeesError", "RoundRow", "RunResult", "Scenario", "__version__", "load_scenario", "run"]

_HOME = {
    "BeesError": "bees.core.errors",
    "RoundRow": "bees.results",
    "RunResult": "bees.results",
    "Scenario": "bees.scenario",
    "load_scenario": "bees.scenario_file",
    "run": "bees.runner",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'bees' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
