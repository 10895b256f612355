"""The ABCI socket server: CometBFT opens four connections, and each is answered in the order of its requests.

Whatever goes wrong with a connection ends that connection, with one line in the log. What goes wrong with the
*application* is handed to its owner, who stops the process: a node must not answer on after that.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog
from google.protobuf.message import DecodeError

from bees.core.errors import AbciError, BeesError, EngineError
from bees.engines.disk import explain
from bees.node.abci.framing import FrameSplitter, frame
from bees.node.abci.pb.messages_pb2 import Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK_BYTES = 1 << 16
_CONNECTIONS = 16
"""CometBFT opens four; more than a few restarts' worth are somebody else's."""

_log = structlog.get_logger(__name__)


class Handler(Protocol):
    """Answers requests."""

    async def answer(self, request: Request) -> Response:
        """The response to a request other than echo and flush.

        Raises:
            AbciError: the request is none that can be answered; its connection is closed.
            BeesError: the application cannot go on.
        """
        ...


class AbciServer:
    """Serves one application.

    Attributes:
        address: where it listens, as CometBFT's ``proxy_app`` names it; known with its port after ``start``.
    """

    def __init__(
        self, address: str, handler: Handler, fail: Callable[[BaseException], None], message_limit_bytes: int
    ) -> None:
        """Nothing listens yet.

        Args:
            address: ``unix:///path`` or ``tcp://host:port``; port 0 takes a free one.
            handler: the application.
            fail: is told why the application cannot go on.
            message_limit_bytes: the largest message that is read.
        """
        self.address = address
        self._handler, self._fail, self._limit = handler, fail, message_limit_bytes
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen.

        Raises:
            EngineError: the address is none, or is in use.
        """
        kind, _, rest = self.address.partition("://")
        try:
            if kind == "unix":
                _remove_socket(rest)  # what a killed process has left would be in the way
                self._server = await asyncio.start_unix_server(self._accept, rest)
                os.chmod(rest, 0o600)  # noqa: PTH101  # whoever may connect decides blocks
            elif kind == "tcp":
                host, _, port = rest.rpartition(":")
                self._server = await asyncio.start_server(self._accept, host, int(port))
                self.address = f"tcp://{host}:{self._server.sockets[0].getsockname()[1]}"
            else:
                raise EngineError(f"{self.address} is no ABCI address; write unix:///path or tcp://host:port")
        except (ValueError, OverflowError) as error:
            raise EngineError(f"{self.address} is no ABCI address; write unix:///path or tcp://host:port") from error
        except OSError as error:
            raise EngineError(f"cannot listen on {self.address}: {explain(error)}") from error

    async def stop(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        kind, _, rest = self.address.partition("://")
        if kind == "unix":
            _remove_socket(rest)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._tasks) >= _CONNECTIONS:
            _log.warning("abci connection refused", open=len(self._tasks))
            writer.close()
            return
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except AbciError as error:
            _log.warning("abci connection closed", reason=str(error))
        except (ConnectionError, TimeoutError) as error:
            _log.info("abci connection lost", reason=str(error) or type(error).__name__)
        except asyncio.CancelledError:
            pass  # the server stops; asyncio would print it for a connection's task
        except (BeesError, Exception) as error:  # noqa: BLE001  # its owner must hear of it, whatever it is
            self._fail(error)
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(ConnectionError, TimeoutError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        splitter = FrameSplitter(self._limit)
        while data := await reader.read(_CHUNK_BYTES):
            for message in splitter.feed(data):
                await self._answer(message, writer)
            await writer.drain()
        if not splitter.is_between:
            raise AbciError("the stream ends within a message")

    async def _answer(self, message: bytes, writer: asyncio.StreamWriter) -> None:
        request, response = _decode(message), Response()
        match request.WhichOneof("value"):
            case "echo":
                response.echo.message = request.echo.message
            case "flush":
                response.flush.SetInParent()
            case None:
                raise AbciError("a request that says nothing, or that this version of ABCI does not know")
            case _:
                response = await self._handler.answer(request)
        writer.write(frame(response.SerializeToString()))
        if response.WhichOneof("value") == "flush":
            await writer.drain()


def _decode(message: bytes) -> Request:
    try:
        return Request.FromString(message)
    except DecodeError as error:
        raise AbciError(f"{len(message)} bytes that are no request") from error


def _remove_socket(path: str) -> None:
    with suppress(OSError):
        if Path(path).is_socket():
            Path(path).unlink()
