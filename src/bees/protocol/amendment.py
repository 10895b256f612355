"""A change of the members (Amend): what servers and the new key sign, and when enough of them have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.keys import is_signed_by
from bees.ledger.membership import amendment_bytes, consent_bytes
from bees.ledger.refusals import AmendError
from bees.ledger.transactions import Amend, Approval, sign
from bees.protocol.approvals import gather, lack_of, not_in_force, server_of_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bees.core.keys import Signs
    from bees.ledger.committee import Committee
    from bees.ledger.membership import Change
    from bees.ledger.transactions import Signed


def approve(chain_id: bytes, committee: Committee, nonce: int, change: Change, key: Signs) -> Approval:
    """A server's approval of a change.

    Args:
        chain_id: of the genesis.
        committee: the servers that count; not yet as the change would have them.
        nonce: how many Amends came before it.
        change: what changes.
        key: the server's, in force.

    Raises:
        AmendError: the key is no server's.
    """
    return Approval(_server_of(committee, key), key.sign(amendment_bytes(chain_id, nonce, change)))


def valid_approvals(
    chain_id: bytes, committee: Committee, nonce: int, change: Change, approvals: Iterable[Approval]
) -> tuple[Approval, ...]:
    """One approval of each server that has really given one, ascending by server."""
    return gather(committee, amendment_bytes(chain_id, nonce, change), approvals)


def consent(chain_id: bytes, nonce: int, change: Change, key: Signs) -> bytes:
    """The signature that shows that somebody holds the new key.

    Raises:
        AmendError: it is a removal, or names another new key.
    """
    if change.public_key is None:
        raise AmendError("a removal needs no consent")
    if change.public_key != key.public_key:
        raise AmendError(f"its new key is {change.public_key.hex()}, and this one's public half {key.public_key.hex()}")
    return key.sign(consent_bytes(chain_id, nonce, change))


def is_consent(chain_id: bytes, nonce: int, change: Change, signature: bytes) -> bool:
    """Whether it is what the new key of a change signs."""
    key = change.public_key
    return key is not None and is_signed_by(key, consent_bytes(chain_id, nonce, change), signature)


def assemble(
    chain_id: bytes,
    committee: Committee,
    nonce: int,
    change: Change,
    consent_: bytes | None,
    approvals: Iterable[Approval],
    carrier: Signs,
) -> Signed:
    """The Amend transaction, signed by the server that carries it.

    Args:
        chain_id: of the genesis.
        committee: the servers that count.
        nonce: how many Amends came before it.
        change: what changes.
        consent_: of the new key; None for a removal.
        approvals: any; those that are not valid are left out.
        carrier: key of the server that hands it in.

    Raises:
        AmendError: the new key has not consented, or the approvals of more than 2N/3 servers are not there; says whose
            are missing. Or the carrier is no server.
    """
    if change.public_key is not None and not (consent_ and is_consent(chain_id, nonce, change, consent_)):
        raise AmendError(f"the new key {change.public_key.hex()} has not consented: bees amend consent FILE --key NEW")
    valid = valid_approvals(chain_id, committee, nonce, change, approvals)
    lack = lack_of(committee, valid)
    if lack is not None:
        raise AmendError(lack)
    given = None if change.public_key is None else consent_
    return sign(Amend(chain_id, _server_of(committee, carrier), nonce, change, given, valid), carrier)


def _server_of(committee: Committee, key: Signs) -> int:
    server = server_of_key(committee, key)
    if server is None:
        raise AmendError(not_in_force(key))
    return server
