"""The examples that users will copy run as they stand."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import bees

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("module", ["bees.runner", "bees.learning.models"])
def test_docstring_examples(module: str):
    results = doctest.testmod(import_module(module), raise_on_error=False)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_readmes_python_examples():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    # A device needs a network: tests/deployment runs the whole examples, here its few lines are only compiled.
    of_devices = [block for block in blocks if "bees.device" in block]
    assert len(blocks) == 2
    assert len(of_devices) == 1
    compile(of_devices[0], str(README), "exec")
    for block in set(blocks).difference(of_devices):
        names: dict[str, Any] = {}
        exec(compile(block, str(README), "exec"), names)  # noqa: S102  # our own README
        assert isinstance(names["result"], bees.RunResult)
