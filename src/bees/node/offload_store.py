"""The raw data that devices have handed in to be trained on: private files, bounded, deleted when an offer is over.

For each device a file with its last word, so that an older one is refused also after a restart, and while an offer
stands one with its data. A crash leaves an offer with its data, or neither.
"""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bees.core.canonical import Record, decode, encode
from bees.core.errors import CodecError, StorageError
from bees.engines.chain_file import typed_errors
from bees.engines.disk import sync_file, sync_folder
from bees.ledger.genesis import Hash, Natural  # msgspec reads the annotations
from bees.transport.offloading import Offer
from bees.transport.refusals import StaleWordError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_WORD, _DATA, _DRAFT = ".word", ".data", ".draft"


class _LastWord(Record, frozen=True):
    """What is kept of a device: serial and key of its last word, and its offer while that stands."""

    device: Natural
    serial: Natural
    offer: Offer | None
    public_key: Hash


class OffloadStore:
    """Offers and raw data by device.

    Args:
        folder: made if it is not there, for its owner alone.
        limit_bytes: of the data of all devices together.

    Raises:
        StorageError: the folder cannot be used.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._lock = Lock()
        self._words: dict[int, _LastWord] = {}
        with typed_errors(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            for path in sorted(folder.glob(f"*{_WORD}")):
                self._take_in(path)
            standing = {self.data_of(offer) for offer in self.offers.values()}
            for path in (*folder.glob(f"*{_DATA}"), *folder.glob(f"*{_DRAFT}")):
                if path not in standing:
                    path.unlink()

    @property
    def offers(self) -> Mapping[int, Offer]:
        """The standing offers, by device."""
        return {device: word.offer for device, word in self._words.items() if word.offer is not None}

    @property
    def size_bytes(self) -> int:
        """Of the data of all devices."""
        return sum(offer.data_bytes for offer in self.offers.values())

    def last_serial(self, device: int) -> int:
        """Of the device's last word; 0 before the first."""
        word = self._words.get(device)
        return 0 if word is None else word.serial

    def key_of(self, device: int) -> bytes | None:
        """The key that has signed the device's last word, or None."""
        word = self._words.get(device)
        return None if word is None else word.public_key

    def check(self, offer: Offer) -> None:
        """Refuse an offer that there is no room for, or that does not come after the device's last word.

        Raises:
            StaleWordError: it was played again, or withdrawn while it came.
            StorageError: the limit is reached.
        """
        self._check_serial(offer.device, offer.serial)
        before = self.offers.get(offer.device)
        others = self.size_bytes - (before.data_bytes if before else 0)
        if others + offer.data_bytes > self.limit_bytes:
            problem = f"its limit of {self.limit_bytes} bytes is reached; raise offloading.total_limit_mb in node.toml"
            raise StorageError(str(self.folder), problem)

    def keep(self, offer: Offer, data: bytes, public_key: bytes) -> None:
        """Keep an offer with its data in place of the device's last one; on disk when this returns.

        Args:
            offer: checked.
            data: as it digests.
            public_key: which has signed the offer.

        Raises:
            StaleWordError: a later word has come meanwhile.
            StorageError: the limit is reached, or the disk fails.
        """
        with self._lock, typed_errors(self.folder):
            self.check(offer)
            _write_private(self.data_of(offer), data)
            self._note(_LastWord(offer.device, offer.serial, offer, public_key))

    def withdraw(self, device: int, serial: int, public_key: bytes) -> bool:
        """Delete a device's data at its own word; whether there were any.

        Raises:
            StaleWordError: it does not come after the device's last word.
            StorageError: the disk fails.
        """
        with self._lock, typed_errors(self.folder):
            self._check_serial(device, serial)
            stood = device in self.offers
            self._note(_LastWord(device, serial, None, public_key))
        return stood

    def end(self, device: int) -> None:
        """Delete a device's data because its offer is over.

        Raises:
            StorageError: the disk fails.
        """
        with self._lock, typed_errors(self.folder):
            self._note(replace(self._words[device], offer=None))

    def data_of(self, offer: Offer) -> Path:
        """The file of an offer's data."""
        return self.folder / f"{offer.device:06d}-{offer.serial}{_DATA}"

    def _check_serial(self, device: int, serial: int) -> None:
        if serial <= self.last_serial(device):
            problem = f"serial {serial} does not come after {self.last_serial(device)}"
            raise StaleWordError(f"{problem}, the last one of device {device}")

    def _note(self, word: _LastWord) -> None:
        _write_private(self.folder / f"{word.device:06d}{_WORD}", encode(word))
        self._words[word.device] = word
        kept = None if word.offer is None else self.data_of(word.offer)
        for path in self.folder.glob(f"{word.device:06d}-*{_DATA}"):
            if path != kept:
                path.unlink()
        sync_folder(self.folder)

    def _take_in(self, path: Path) -> None:
        """A word of an earlier life; its offer stands only if its data are whole."""
        try:
            word = decode(path.read_bytes(), _LastWord)
        except CodecError as error:
            raise StorageError(str(path), f"is damaged ({error}); move it away, and its device offers again") from error
        self._words[word.device] = word
        if word.offer is not None:
            size = -1
            with suppress(FileNotFoundError):
                size = self.data_of(word.offer).stat().st_size
            if size != word.offer.data_bytes:
                self._note(replace(word, offer=None))


def _write_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 whole, or not at all."""
    draft = path.with_name(path.name + _DRAFT)
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor has no path
        file.write(data)
        sync_file(file)
    draft.replace(path)
