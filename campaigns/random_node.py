"""``bees node`` for a random world: the command as it is, but scores are drawn, for there is nothing to evaluate."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from campaigns.random_world import drawn_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.core.fixed_point import Words


class DrawnScorer:
    """In place of ``bees.node.scoring.Scorer``."""

    def __init__(self, _genesis: object, _section: object) -> None:
        pass

    def __call__(self, updates: Sequence[bytes], _global_model: Words) -> list[int]:
        """A score for each update."""
        return drawn_scores(updates)


def draw_scores() -> None:
    """Have ``bees.node.service`` draw scores; call it before that module is imported."""
    # The real module would import JAX, which takes each process seconds and 200 MB.
    scoring = ModuleType("bees.node.scoring")
    scoring.Scorer = DrawnScorer  # pyright: ignore[reportAttributeAccessIssue]  # a module takes any attribute
    sys.modules[scoring.__name__] = scoring


def run_node(arguments: Sequence[str]) -> int:
    """Run ``bees node`` with these arguments; its exit code."""
    from bees.cli.main import run_command  # noqa: PLC0415  # after the scorer has been replaced

    return run_command(["node", *arguments])


if __name__ == "__main__":
    draw_scores()
    sys.exit(run_node(sys.argv[1:]))
