from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Tests are no package; this lets them share the module that stands beside them.
sys.path.insert(0, str(Path(__file__).parent))

from small_world import World


@pytest.fixture
def make_world() -> type[World]:
    return World


@pytest.fixture
def world() -> World:
    return World()
