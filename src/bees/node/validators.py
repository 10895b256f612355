"""Who votes in CometBFT: the validators of its genesis, and what the chain has changed since.

CometBFT has keys of its own for its votes. Its genesis.json names them, and a ledger hears of it once, before the first
block; so they are written down then. An Amend of a server names its validator's old key and its next one. All servers
read the same from the same blocks, and a change that names no validator in force is one of nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from bees.core.errors import EngineError
from bees.engines.chain_file import typed_errors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bees.ledger.membership import Members

_FILE = "validators.json"
_log = structlog.get_logger(__name__)


class Validators:
    """The validators of one chain.

    Args:
        folder: of the node.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE

    def found(self, keys: Iterable[bytes]) -> None:
        """Write down those of CometBFT's genesis.

        Raises:
            StorageError: they cannot be written.
        """
        draft = self._path.with_suffix(".draft")
        with typed_errors(self._path):
            draft.write_text(msgspec.json.encode(sorted(key.hex() for key in keys)).decode())
            draft.replace(self._path)

    def updates(self, before: Members, after: Members) -> list[tuple[bytes, int]]:
        """What CometBFT must be told after a block: public keys, and the power that each has from now on.

        Raises:
            EngineError: those of its genesis are not on record.
        """
        done, all_changes = before.validator_changes, after.validator_changes
        if all_changes == done:
            return []
        in_force = self._founders()
        for change in done:
            if change.old in in_force:
                in_force.discard(change.old)
                in_force.update([] if change.new is None else [change.new])
        found: dict[bytes, int] = {}
        for change in all_changes[len(done) :]:
            if change.old not in in_force:
                _log.error("no such validator", key=change.old.hex())
                continue
            in_force.discard(change.old)
            found[change.old] = 0
            if change.new is not None:
                in_force.add(change.new)
                found[change.new] = 1
        return sorted(found.items())

    def _founders(self) -> set[bytes]:
        try:
            names = msgspec.json.decode(self._path.read_bytes(), type=tuple[str, ...])
            return {bytes.fromhex(name) for name in names}
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            problem = f"{self._path} does not name the validators of CometBFT's genesis"
            raise EngineError(f"{problem}; copy the file from another server of this chain") from error
