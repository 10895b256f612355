"""TLS between devices and nodes: a device trusts the authority that it was given, and no other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from service_rig import network

from bees.core.errors import InputError, NetworkError
from bees.device import AsyncDevice
from bees.device.nodes import Nodes
from bees.node.config import HttpSection
from bees.node.guarded_server import GuardedServer
from bees.node.metrics import Metrics

if TYPE_CHECKING:
    from pathlib import Path


def test_a_device_trusts_its_authority_alone(tmp_path: Path, certificate: tuple[str, str]):
    async def play() -> None:
        pem, key = certificate
        async with network(tmp_path, certificate=pem, certificate_key=key) as net:
            url = net.urls[0].replace("http:", "https:")
            own, journal = net.world.device_keys[0], tmp_path / "journal"
            async with AsyncDevice([url], own, net.world.signed, journal, authority=pem) as device:
                assert (await device.next_round()).round == 1
            strangers = Nodes([url], timeout_s=5)
            with pytest.raises(NetworkError, match=r"(?i)certificate"):
                await strangers.ask(url, "/v1/round")
            with pytest.raises(NetworkError):
                await strangers.ask(net.urls[0], "/v1/round")
            await strangers.close()

    asyncio.run(play())


def test_files_that_are_no_certificate_are_told(tmp_path: Path):
    async def play() -> None:
        section = HttpSection("127.0.0.1:0", certificate=str(tmp_path / "no.pem"), certificate_key="no.key")
        with pytest.raises(InputError, match=r"no\.pem: is no certificate"):
            await GuardedServer([], section, Metrics()).start()

    asyncio.run(play())
    with pytest.raises(InputError, match="is no authority"):
        Nodes(["https://a"], authority=str(tmp_path / "no.pem"))
