from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bees.core.errors import KeyFileError
from bees.core.keys import SigningKey, is_signed_by
from bees.key_file import read_key_file, write_key_file

SEED = bytes(range(32))


def test_a_key_comes_back_and_only_its_owner_may_read_it(tmp_path: Path):
    path = tmp_path / "server.key"
    before = os.umask(0o777)
    try:
        written = write_key_file(path, SEED)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == SEED.hex() + "\n"
    key = read_key_file(path)
    assert key.public_key == written.public_key == SigningKey.from_seed(SEED).public_key
    assert is_signed_by(key.public_key, b"message", key.sign(b"message"))


def test_a_key_is_never_overwritten(tmp_path: Path):
    path = tmp_path / "server.key"
    write_key_file(path, SEED)
    with pytest.raises(KeyFileError, match="never overwritten"):
        write_key_file(path, SEED[::-1])
    assert path.read_text() == SEED.hex() + "\n"
    with pytest.raises(KeyFileError, match="32 bytes, not 31"):
        write_key_file(tmp_path / "short", SEED[1:])
    with pytest.raises(KeyFileError, match="cannot be written"):
        write_key_file(tmp_path / "no" / "folder", SEED)
    assert [file.name for file in tmp_path.iterdir()] == ["server.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o610])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int):
    path = tmp_path / "server.key"
    write_key_file(path, SEED)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:04o}.*chmod 600"):
        read_key_file(path)


@pytest.mark.parametrize(
    "text",
    [b"", b"\n", SEED, SEED.hex().encode()[1:], SEED.hex().encode() + b"0", SEED.hex().encode() + b"\n\n",
     b"g" * 64, b"\xff" * 64, b" " * 64, SEED[1:].hex().encode() + b"  ", b"0" * 10_000],
)  # fmt: skip
def test_what_is_no_key_is_refused_without_telling_what_it_is(tmp_path: Path, text: bytes):
    path = tmp_path / "server.key"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="holds no key") as refusal:
        read_key_file(path)
    assert SEED.hex()[8:40] not in str(refusal.value.as_dict())


def test_what_is_no_file_is_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "nowhere", Path(os.devnull)):
        with pytest.raises(KeyFileError, match=path.name):
            read_key_file(path)
