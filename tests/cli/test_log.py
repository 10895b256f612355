"""What daemons log holds no local variables: one of them may be a private key."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import structlog
from bees.cli.log import start_log
start_log(as_json={as_json})
def sign():
    seed = "5ec2e7" * 3
    raise ValueError("no signature")
try:
    sign()
except ValueError:
    structlog.get_logger().exception("it failed")
"""


@pytest.mark.parametrize("as_json", [True, False])
def test_tracebacks_hold_no_local_variables(as_json: bool):
    program = _PROGRAM.format(as_json=as_json)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "no signature" in done.stderr
    assert "it failed" in done.stderr
    assert "5ec2e75ec2e75ec2e7" not in done.stderr
