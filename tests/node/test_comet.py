from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import sys
import tomllib
from base64 import b64decode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from abci_rig import world_of
from aiohttp import web

from bees.core.errors import CometError, MissingExtraError, StorageError
from bees.node.comet import CometKey, CometSettings, comet_genesis, write_home
from bees.node.comet_client import CometClient
from bees.node.comet_process import CometProcess, find_comet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

SETTINGS = CometSettings("unix:///a.sock", "tcp://127.0.0.1:1", "tcp://127.0.0.1:2", ("a@b:3", "c@d:4"), commit_s=0.25)


def home(folder: Path) -> Path:
    keys = [CometKey.from_seed(bytes([k]) * 32) for k in range(4)]
    genesis = comet_genesis(world_of().genesis, [key.public_key for key in keys], datetime(2024, 1, 1, tzinfo=UTC))
    write_home(folder, SETTINGS, genesis, keys[0], CometKey.from_seed(bytes(32)))
    return folder


def test_cometbft_itself_takes_the_keys_for_what_they_are_named(tmp_path: Path, needs_comet: None):
    folder = home(tmp_path / "comet")

    def ask(command: str) -> str:
        done = subprocess.run([find_comet(), command, "--home", folder], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    assert ask("show-node-id") == CometKey.from_seed(bytes(32)).node_id
    assert b64decode(json.loads(ask("show-validator"))["value"]) == CometKey.from_seed(bytes(32)).public_key


def test_a_home_holds_what_was_asked_and_only_its_owner_may_read_it(tmp_path: Path):
    folder = home(tmp_path / "comet")
    config = tomllib.loads((folder / "config/config.toml").read_text())
    assert config["p2p"]["persistent_peers"] == "a@b:3,c@d:4"
    assert (config["consensus"]["timeout_commit"], config["consensus"]["create_empty_blocks"]) == ("250ms", True)
    genesis = json.loads((folder / "config/genesis.json").read_text())
    assert genesis["chain_id"] == f"bees-{world_of().genesis.chain_id.hex()[:40]}"
    assert [v["power"] for v in genesis["validators"]] == ["1"] * 4
    assert genesis["genesis_time"] == "2024-01-01T00:00:00Z"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"priv_validator_key.json", "node_key.json", "priv_validator_state.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_writing_a_home_again_keeps_which_votes_were_cast(tmp_path: Path):
    cast = home(tmp_path / "comet") / "data/priv_validator_state.json"
    cast.write_text('{"height": "7"}')
    home(tmp_path / "comet")
    assert cast.read_text() == '{"height": "7"}'


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "comet").write_text("a file")
    with pytest.raises(StorageError, match="comet"):
        home(tmp_path / "comet")


def test_where_cometbft_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin/python"))
    monkeypatch.delenv("BEES_COMETBFT", raising=False)
    with pytest.raises(MissingExtraError, match="make cometbft"):
        find_comet()
    for name, options in (("bin/cometbft", ()), ("cometbft", ()), ("by-env", ()), ("by-option", ("by-option",))):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        if name == "by-env":
            monkeypatch.setenv("BEES_COMETBFT", str(path))
        assert find_comet(*options) == path
    monkeypatch.setenv("BEES_COMETBFT", "/no/such")
    with pytest.raises(MissingExtraError, match="BEES_COMETBFT: '/no/such' is no executable"):
        find_comet()


def test_a_comet_that_ends_is_told_with_the_end_of_its_log(tmp_path: Path):
    script = tmp_path / "cometbft"
    script.write_text("#!/bin/sh\necho it is broken\nexit 3\n")
    script.chmod(0o755)

    async def main() -> int:
        process, client = CometProcess(script, tmp_path), CometClient("http://127.0.0.1:9")
        await process.start()
        status = await process.wait()
        with pytest.raises(CometError, match=r"has ended.*it is broken"):
            await process.wait_ready(client, 5)
        await process.stop()
        await client.close()
        return status

    assert asyncio.run(main()) == 3


def test_a_comet_that_does_not_end_is_made_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bees.node.comet_process._STOP_S", 0.3)
    script = tmp_path / "cometbft"
    script.write_text("#!/bin/sh\ntrap '' TERM\necho up\nwhile true; do sleep 0.05; done\n")
    script.chmod(0o755)

    async def main() -> None:
        process = CometProcess(script, tmp_path)
        await process.start()
        assert process.pid is not None
        async with asyncio.timeout(10):
            await asyncio.sleep(0.3)
            await process.stop()
        assert process.pid is None

    asyncio.run(main())


def with_rpc(answer: dict[str, Any] | str, talk: Callable[[CometClient], Awaitable[Any]]) -> Any:
    async def reply(request: web.Request) -> web.Response:
        return web.Response(text=answer if isinstance(answer, str) else json.dumps(answer))

    async def main() -> Any:
        app = web.Application()
        app.router.add_post("/", reply)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            async with CometClient(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
                return await talk(client)
        finally:
            await runner.cleanup()

    return asyncio.run(main())


def test_a_transaction_that_the_mempool_holds_already_is_handed_in():
    in_cache = {"error": {"code": -32603, "message": "Internal error", "data": "tx already exists in cache"}}
    assert with_rpc(in_cache, lambda client: client.submit(b"x")) is None
    assert with_rpc({"result": {"code": 0}}, lambda client: client.submit(b"x")) is None
    assert with_rpc({"result": {"code": 1, "log": "why"}}, lambda client: client.submit(b"x")) == "why"


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ({"error": {"data": "mempool is full"}}, "mempool is full"),
        ("no json", "cannot be reached"),
        ("[]", "does not answer as CometBFT"),
        ('{"error": 3}', "refuses"),
        ({"result": {"sync_info": 3}}, "does not answer as CometBFT"),
    ],
)
def test_what_is_no_answer_is_one_clear_error(answer: dict[str, Any] | str, complaint: str):
    with pytest.raises(CometError, match=complaint):
        with_rpc(answer, lambda client: client.status())
