"""A program that is tied does not outlive the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from bees.node.tied_program import tied

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")

PARENT = """
import subprocess, sys, time
from bees.node.tied_program import tied
child = subprocess.Popen(tied("/bin/sh", "-c", "trap '' TERM HUP INT; echo up; while true; do sleep 0.1; done"))
print(child.pid, flush=True)
time.sleep(100)
"""


def _lives(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@on_linux
def test_a_program_that_takes_no_request_to_end_ends_with_its_parent():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        lines = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
        assert "up" in lines
        (pid,) = (int(line) for line in lines - {"up"})
        assert _lives(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
        end = time.monotonic() + 10
        while _lives(pid) and time.monotonic() < end:
            time.sleep(0.05)
        assert not _lives(pid)


def test_it_gets_its_arguments_and_its_status_counts():
    command = tied("/bin/sh", "-c", 'echo "$0|$1"; exit 3', "a b", "c")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("a b|c\n", 3)


@on_linux
def test_what_cannot_be_started_is_told_in_one_line():
    done = subprocess.run(tied("/no/such"), capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("/no/such cannot be started: No such file or directory\n", 126)


@on_linux
def test_a_parent_that_has_died_too_early_is_noticed():
    command = tied("/bin/echo", "started")
    command[4] = "1"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 1)


def test_elsewhere_it_is_run_as_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert tied("cometbft", "node") == ["cometbft", "node"]
