"""Becomes another program that ends when its parent does: ``python tied_program.py PARENT_PID PROGRAM ARGUMENT...``.

CometBFT stops when it loses its ledger, but sometimes it hangs on the way, and then holds its database and its ports
against the next one. A file of its own, since a process with threads cannot safely do this between fork and exec.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_DOES_NOT_START = 126


def tied(program: str, *arguments: str) -> list[str]:
    """The command that runs a program as a child of this process that does not outlive it.

    Only Linux knows how; elsewhere the program is run as it is.
    """
    if not sys.platform.startswith("linux"):
        return [program, *arguments]
    return [sys.executable, "-I", "-S", str(Path(__file__)), str(os.getpid()), program, *arguments]


def _main(parent: int, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has died meanwhile, too early for the signal
        sys.exit(1)
    try:
        os.execv(command[0], command)  # noqa: S606  it takes no shell, and the node has chosen what to run
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}", file=sys.stderr)  # noqa: T201  CometBFT's log
        sys.exit(_DOES_NOT_START)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2:])
