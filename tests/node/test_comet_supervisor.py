"""A node has its CometBFT vote with the next key when CometBFT counts that, and not before."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from waiting import until

from bees.core.errors import CometError, KeyFileError
from bees.ledger.membership import ValidatorChange
from bees.node.comet import CometKey, write_keys
from bees.node.comet_supervisor import CometSupervisor
from bees.node.config import CometSection
from bees.node.validator_key import installed_key, write_validator_key

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

OLD, NODE = (CometKey.from_seed(bytes([k]) * 32) for k in (1, 2))
SEED = bytes([3]) * 32
NEXT = CometKey.from_seed(SEED).public_key


class Chain:
    """A ledger with its CometBFT's RPC; ``begun`` tells with which key each start of it voted."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state: Any = SimpleNamespace(members=SimpleNamespace(validator_changes=()))
        self.voters = [OLD.public_key]
        self.comet = self
        self.url = "http://127.0.0.1:1"
        self.looks = 0
        self._on_block: list[Callable[[Any], None]] = []

    def on_block(self, callback: Callable[[Any], None]) -> None:
        self._on_block.append(callback)

    def agree(self) -> None:
        change = ValidatorChange(OLD.public_key, NEXT)
        self.state = SimpleNamespace(members=SimpleNamespace(validator_changes=(change,)))
        self.block()

    def block(self) -> None:
        for callback in self._on_block:
            callback(self.state)

    async def status(self) -> None: ...

    async def validators(self) -> list[bytes]:
        self.looks += 1
        if self.looks == 1:
            raise CometError("it does not answer this once")
        return self.voters

    @property
    def begun(self) -> list[str]:
        path = self.home / "begun"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    home = tmp_path / "comet"
    write_keys(home, OLD, NODE)
    write_validator_key(tmp_path / "next.json", SEED)
    program = tmp_path / "cometbft"
    program.write_text(
        '#!/bin/sh\ngrep -o \'"address": "[0-9A-F]*\' "$3/config/priv_validator_key.json" | cut -d\\" -f4 '
    )
    program.write_text(program.read_text() + '>> "$3/begun"\nexec sleep 100\n')
    program.chmod(0o755)
    return Chain(home)


@asynccontextmanager
async def supervised(chain: Chain, next_validator: str = "next.json") -> AsyncGenerator[None]:
    folder = chain.home.parent
    section = CometSection(
        home=str(chain.home),
        executable=str(folder / "cometbft"),
        next_validator=str(folder / next_validator) if next_validator else "",
    )
    ledger: Any = chain
    task = asyncio.create_task(CometSupervisor(section, ledger).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_the_next_key_is_put_in_place_when_it_votes_on_the_next_block(chain: Chain):
    cast = chain.home / "data/priv_validator_state.json"
    cast.write_text("votes that were cast")
    new = CometKey.from_seed(SEED).address

    async def play() -> None:
        async with supervised(chain):
            await until(lambda: len(chain.begun) == 1)
            chain.block()
            await asyncio.sleep(0.05)
            assert chain.looks == 0
            chain.agree()
            await until(lambda: chain.looks >= 1)
            chain.block()
            await until(lambda: chain.looks >= 2)
            assert chain.begun == [OLD.address]
            chain.voters = [NEXT]
            chain.block()
            await until(lambda: len(chain.begun) == 2)
        assert chain.begun == [OLD.address, new]
        # At the next start it is in place, and is not put there again.
        async with supervised(chain):
            await until(lambda: len(chain.begun) == 3)
            chain.block()
            await asyncio.sleep(0.05)
        assert chain.begun == [OLD.address, new, new]

    asyncio.run(play())
    assert installed_key(chain.home).public_key == NEXT
    assert (chain.home / "config/priv_validator_key.json").stat().st_mode & 0o777 == 0o600
    assert cast.read_text() == "votes that were cast"


def test_a_change_that_took_effect_meanwhile_is_seen_at_the_start(chain: Chain):
    async def play() -> None:
        chain.agree()
        chain.voters = [NEXT]
        async with supervised(chain):
            await until(lambda: len(chain.begun) == 2)

    asyncio.run(play())
    assert installed_key(chain.home).public_key == NEXT


def test_another_servers_change_moves_no_key(chain: Chain):
    async def play() -> None:
        chain.agree()
        chain.voters = [NEXT]
        async with supervised(chain, next_validator=""):
            await until(lambda: len(chain.begun) == 1)
            chain.block()
            await asyncio.sleep(0.05)

    asyncio.run(play())
    assert (chain.looks, installed_key(chain.home)) == (0, OLD)


def test_a_next_key_that_others_may_read_is_refused_at_the_start(chain: Chain):
    (chain.home.parent / "next.json").chmod(0o644)

    async def play() -> None:
        async with supervised(chain):
            pass

    with pytest.raises(KeyFileError, match="chmod 600"):
        asyncio.run(play())
