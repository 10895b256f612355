"""How servers know one another on the blob plane: each request is signed with the server's key of the genesis.

A signature and no client certificates, because the genesis already says who the servers are: there is no authority to
set up, no second key to rotate, and a proxy that ends TLS in front of a node changes nothing. It binds chain, sender,
receiver, method, path, time and body, so a request is good for one server, for one thing and for a minute. It hides
nothing: between sites, TLS runs beneath.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.core.canonical import encode
from bees.core.hashes import digest
from bees.core.keys import is_signed_by
from bees.transport.refusals import NotAuthenticError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bees.core.keys import Signs
    from bees.ledger.committee import Committee

SENDER_HEADER = "Bees-Server"
TIME_HEADER = "Bees-Time"
SIGNATURE_HEADER = "Bees-Signature"

TOLERANCE_S = 60
"""How far the clocks of two servers may differ."""
_LONGEST_NUMBER = 18


@dataclass(frozen=True)
class Request:
    """What a signature binds.

    Attributes:
        sender: server that asks.
        receiver: server that is asked.
        method: such as ``GET``.
        path: with its query.
        time_ms: by the sender's clock, since 1970.
        body: what is sent.
    """

    sender: int
    receiver: int
    method: str
    path: str
    time_ms: int
    body: bytes = b""


def request_bytes(chain_id: bytes, request: Request) -> bytes:
    """What the sender signs."""
    body = digest("request body", request.body)
    fields = (chain_id, request.sender, request.receiver, request.method, request.path, request.time_ms, body)
    return b"bees request\0" + encode(fields)


def sign_request(chain_id: bytes, key: Signs, request: Request) -> dict[str, str]:
    """The headers that show who asks."""
    return {
        SENDER_HEADER: str(request.sender),
        TIME_HEADER: str(request.time_ms),
        SIGNATURE_HEADER: key.sign(request_bytes(chain_id, request)).hex(),
    }


def check_request(
    chain_id: bytes,
    committee: Committee,
    receiver: int,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    now_ms: int,
) -> int:
    """The server that has signed a request.

    Args:
        chain_id: of the genesis.
        committee: the servers that count.
        receiver: who is asked.
        method: of the request.
        path: with its query.
        headers: of the request, from anybody.
        body: of the request.
        now_ms: by the receiver's clock, since 1970.

    Raises:
        NotAuthenticError: nobody has signed it, or not now, or not for this server.
    """
    sender, time_ms = _number(headers, SENDER_HEADER), _number(headers, TIME_HEADER)
    key = committee.key(sender)
    if key is None or sender == receiver:
        raise NotAuthenticError(f"{SENDER_HEADER} names no other server of this chain")
    if abs(now_ms - time_ms) > TOLERANCE_S * 1000:
        problem = f"{TIME_HEADER} is {abs(now_ms - time_ms) / 1000:.0f} s from this server's clock"
        raise NotAuthenticError(f"{problem}; at most {TOLERANCE_S} s are allowed, so set the clocks (NTP)")
    try:
        signature = bytes.fromhex(headers.get(SIGNATURE_HEADER, ""))
    except ValueError:
        signature = b""
    message = request_bytes(chain_id, Request(sender, receiver, method, path, time_ms, body))
    if not is_signed_by(key, message, signature):
        raise NotAuthenticError(f"{SIGNATURE_HEADER} is not that of server {sender} under this request")
    return sender


def _number(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER):
        raise NotAuthenticError(f"the header {name} must hold a whole number")
    return int(text)
