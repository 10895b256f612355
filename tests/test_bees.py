from __future__ import annotations

import subprocess
import sys

import pytest

import bees


def test_the_public_names_are_there():
    for name in bees.__all__:
        assert getattr(bees, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'wasps'"):
        _ = bees.wasps  # pyright: ignore[reportAttributeAccessIssue]  # that is the test


def test_importing_bees_and_asking_for_help_does_not_load_jax():
    code = "import sys, bees, bees.cli; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
