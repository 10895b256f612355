"""An HTTP listener that hostile, slow and huge requests cost little: every refusal is JSON with a typed name."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING, Any, cast

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from bees.core.errors import BeesError, EngineError, InputError, RequestError, StorageError, TransactionError
from bees.node.limits import OpenConnections, RateLimit, peer_of
from bees.transport.refusals import RefusedTransactionError, TooManyRequestsError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bees.node.config import HttpSection
    from bees.node.metrics import Metrics

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LINE_BYTES = 4096
_HEADERS = 64
_BODY_BYTES = 64 * 1024
"""Of bodies that are read whole; updates are streamed under a limit of their own."""

_READ_BYTES = 16 * 1024
"""Of a body are read ahead, twice: what thousands of connections that wait for a place hold of a node's memory."""

_FAREWELL_S = 2.0
"""What requests in hand have left when the node stops; who only waits for a round is sent away."""

_log = structlog.get_logger("bees.node.http")


class GuardedServer:
    """Serves an application under the limits of a section.

    Args:
        routes: method, path and handler of each.
        section: address, TLS and limits.
        metrics: count the refusals.
        open_paths: that are not rated, such as ``/healthz``.
    """

    def __init__(
        self,
        routes: list[tuple[str, str, Handler]],
        section: HttpSection,
        metrics: Metrics,
        open_paths: frozenset[str] = frozenset(),
    ) -> None:
        self._section = section
        self._metrics = metrics
        self._open_paths = open_paths
        self._open = OpenConnections[_Connection](
            section.connections, section.connections_per_address, lambda connection: connection.force_close()
        )
        self._rate = RateLimit(section.requests_per_second, section.burst, asyncio.get_running_loop().time)
        self._app = web.Application(middlewares=[self._guard], client_max_size=_BODY_BYTES)
        for method, path, handler in routes:
            self._app.router.add_route(method, path, handler)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=_FAREWELL_S)
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen, and return the port.

        Raises:
            InputError: the address is taken or none of this machine's, or the certificate cannot be read.
        """
        context = _tls(self._section)
        await self._runner.setup()
        host, _, port = self._section.listen.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                self._make_protocol,
                host.strip("[]"),
                int(port),
                ssl=context,
                # Who does not finish the handshake is not counted as a connection yet.
                ssl_handshake_timeout=self._section.header_timeout_s if context else None,
                backlog=1024,
            )
        except (OSError, OverflowError) as error:
            raise InputError(self._section.listen, f"cannot be listened on: {error}") from None
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening, and let the requests in hand finish."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    def _make_protocol(self) -> asyncio.Protocol:
        manager = self._runner.server
        if manager is None:
            return self._turned_away()
        return _Connection(
            manager,
            loop=asyncio.get_running_loop(),
            access_log_class=_NoAccessLog,
            keepalive_timeout=self._section.header_timeout_s,
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
            max_headers=_HEADERS,
            lingering_time=0,
            read_bufsize=_READ_BYTES,
        ).limited(self._section.header_timeout_s, self._open, self._turned_away)

    def _turned_away(self) -> _Refusal:
        self._metrics.refusals.labels("TooManyConnections").inc()
        return _Refusal()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path not in self._open_paths:
                self._rate.take(peer_of(request.remote or ""))
            return await handler(request)
        except web.HTTPException as error:
            return self._refused(error.reason.replace(" ", "") + "Error", error.reason, error.status)
        except BeesError as error:
            refusal = _as_request_error(error)
            fields = {"refusal": refusal.refusal} if isinstance(refusal, RefusedTransactionError) else {}
            return self._refused(type(refusal).__name__, str(refusal), refusal.status, **fields)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001  # whatever it is, it must neither end the node nor be told to strangers
            _log.exception("a request could not be answered", path=request.path)
            return self._refused("InternalError", "this node could not answer; its log says why", 500)

    def _refused(self, name: str, message: str, status: int, **fields: str) -> web.Response:
        self._metrics.refusals.labels(name).inc()
        response = refusal_response(name, message, status, **fields)
        if status in {400, 408, 411, 413, 429}:
            # Its body was not read, and need not be.
            response.force_close()
        return response


def refusal_response(name: str, message: str, status: int, **fields: str) -> web.Response:
    """A refusal as JSON."""
    headers = {"Retry-After": "1"} if status in {TooManyRequestsError.status, UnavailableError.status} else None
    return web.json_response({"error": name, "message": message, **fields}, status=status, headers=headers)


def _as_request_error(error: BeesError) -> RequestError:
    match error:
        case RequestError():
            return error
        case TransactionError():
            return RefusedTransactionError(str(error), type(error).__name__)
        case EngineError():
            return UnavailableError(str(error))
        case StorageError():
            return TooManyRequestsError("this node's disk has no room now; try another node")
        case _:
            return RequestError(str(error))


class _Connection(web.RequestHandler):
    """aiohttp's connection, which also ends where no request comes in time, and answers garbage in JSON."""

    __slots__ = ("_deadline", "_header_timeout_s", "_open", "_peer", "_turn_away")

    def limited(
        self, header_timeout_s: float, open_connections: OpenConnections[_Connection], turn_away: Callable[[], _Refusal]
    ) -> _Connection:
        """With a time until the first request, and a place among the peer's connections."""
        self._header_timeout_s = header_timeout_s
        self._open, self._turn_away = open_connections, turn_away
        self._deadline: asyncio.TimerHandle | None = None
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._peer = peer_of(str((transport.get_extra_info("peername") or ("",))[0]))
        if not self._open.enter(self._peer, self):
            refusal: Any = self._turn_away()
            cast("asyncio.Transport", transport).set_protocol(refusal)
            refusal.connection_made(transport)
            return
        # Before aiohttp's own timer, which closes the connection without a word.
        self._deadline = asyncio.get_running_loop().call_later(self._header_timeout_s, self._give_up)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._open.leave(self._peer, self)
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002  # aiohttp hands it in by name
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp's parser refuses, in JSON and without a traceback in the log."""
        problem = (message or str(exc) or "no HTTP").splitlines()[0][:200]
        response = refusal_response("MalformedRequestError", problem, status)
        response.force_close()
        return response

    def _give_up(self) -> None:
        if self._request_count:
            return
        if self.transport is not None:
            problem = f"no request came within {self._header_timeout_s:g} s"
            self.transport.write(_raw_refusal(408, "Request Timeout", "TooSlowError", problem))
        self.force_close()


class _NoAccessLog(AbstractAccessLogger):
    """Metrics count requests; a line for each would only fill the disk."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Say nothing."""

    @property
    def enabled(self) -> bool:
        """Never."""
        return False


class _Refusal(asyncio.Protocol):
    """Turns a connection away when there are too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        problem = "too many connections; try again in a second"
        writer: Any = transport
        writer.write(_raw_refusal(429, "Too Many Requests", "TooManyConnections", problem))
        writer.close()


def _raw_refusal(status: int, reason: str, name: str, message: str) -> bytes:
    """A refusal where there is no request that aiohttp could answer."""
    body = json.dumps({"error": name, "message": message}).encode()
    head = f"HTTP/1.1 {status} {reason}", "Retry-After: 1", f"Content-Length: {len(body)}"
    return "\r\n".join((*head, "Content-Type: application/json", "Connection: close", "\r\n")).encode() + body


def _tls(section: HttpSection) -> ssl.SSLContext | None:
    if not section.certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(section.certificate, section.certificate_key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(section.certificate, f"is no certificate with its key: {error}") from None
    return context
