"""The journal on disk: what was signed stays signed, also when the process is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bees.core.errors import ChainFileError, DoubleSignError, StorageError
from bees.core.keys import SigningKey
from bees.ledger.transactions import Publish
from bees.protocol.signer import Signer
from bees.transport.journal import ROUNDS_KEPT, DiskJournal

if TYPE_CHECKING:
    from pathlib import Path

KEY = SigningKey.simulated(1, "server", 0)


def body(round_: int, model: int = 0):
    return Publish(bytes(32), round_, bytes(32), 0, (1, 2), bytes([model] * 32))


def test_it_remembers_after_a_restart(tmp_path: Path):
    path = tmp_path / "journal.db"
    with DiskJournal(path) as journal:
        first = Signer(KEY, journal).sign(body(1), ("Publish", 1))
        journal.keep_answer(("Publish", 1), first)
    with DiskJournal(path) as journal:
        assert journal.answer(("Publish", 1)) == first
        assert Signer(KEY, journal).sign(body(1), ("Publish", 1)) == first
        with pytest.raises(DoubleSignError):
            Signer(KEY, journal).sign(body(1, model=9), ("Publish", 1))


def test_a_kill_right_after_the_signature_has_left_loses_nothing(tmp_path: Path):
    program = """
import os, signal, sys
from pathlib import Path
from bees.core.keys import SigningKey
from bees.ledger.transactions import Publish
from bees.protocol.signer import Signer
from bees.transport.journal import DiskJournal
signer = Signer(SigningKey.simulated(1, "server", 0), DiskJournal(Path(sys.argv[1])))
signed = signer.sign(Publish(bytes(32), 7, bytes(32), 0, (1, 2), bytes(32)), ("Publish", 7))
os.write(1, signed.signature.hex().encode())
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "journal.db"
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with DiskJournal(path) as journal:
        signer = Signer(KEY, journal)
        assert signer.sign(body(7), ("Publish", 7)).signature.hex() == done.stdout.decode()
        with pytest.raises(DoubleSignError):
            signer.sign(body(7, model=1), ("Publish", 7))


def test_what_it_has_forgotten_it_lets_nobody_sign(tmp_path: Path):
    with DiskJournal(tmp_path / "journal.db") as journal:
        signer = Signer(KEY, journal)
        signer.sign(body(1), ("Publish", 1))
        signer.sign(body(ROUNDS_KEPT + 10), ("Publish", ROUNDS_KEPT + 10))
        with pytest.raises(DoubleSignError):
            signer.sign(body(1), ("Publish", 1))
    with DiskJournal(tmp_path / "journal.db") as journal, pytest.raises(DoubleSignError):
        journal.signed_for(("Publish", 9))


def test_two_processes_cannot_sign_with_one_journal(tmp_path: Path):
    with DiskJournal(tmp_path / "journal.db"):
        program = "import sys; from pathlib import Path; from bees.transport.journal import DiskJournal\n"
        program += "from bees.core.errors import StorageError\n"
        program += "try: DiskJournal(Path(sys.argv[1]))\nexcept StorageError: sys.exit(7)"
        done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "journal.db")], check=False)
        assert done.returncode == 7


def test_another_kind_of_file_is_refused(tmp_path: Path):
    path = tmp_path / "journal.db"
    path.write_bytes(b"x" * 4096)
    with pytest.raises(ChainFileError):
        DiskJournal(path)
    with pytest.raises(StorageError):
        DiskJournal(path / "below" / "a file")
