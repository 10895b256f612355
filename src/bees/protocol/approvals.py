"""What a change of the contract and one of the members have in common: servers in force approve it, one by one.

Servers approve apart from one another; their approvals are gathered, and any server carries them to the chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.keys import is_signed_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bees.core.keys import Signs
    from bees.ledger.committee import Committee
    from bees.ledger.transactions import Approval


def server_of_key(committee: Committee, key: Signs) -> int | None:
    """Index of the server whose key this is now; None where it is no server's, or not any more."""
    return committee.keys.index(key.public_key) if key.public_key in committee.keys else None


def not_in_force(key: Signs) -> str:
    """Why a key approves and carries nothing."""
    return f"the key with the public half {key.public_key.hex()} is no server's, or not any more"


def gather(committee: Committee, message: bytes, approvals: Iterable[Approval]) -> tuple[Approval, ...]:
    """One approval of each server that has really given one, ascending by server.

    Args:
        committee: the servers that count.
        message: what they sign.
        approvals: any.
    """
    found: dict[int, Approval] = {}
    for approval in approvals:
        key = committee.key(approval.server)
        if key is not None and is_signed_by(key, message, approval.signature):
            found[approval.server] = approval
    return tuple(found[server] for server in sorted(found))


def lack_of(committee: Committee, valid: Sequence[Approval]) -> str | None:
    """Why these approvals are not enough, and whose are missing; None where they are."""
    if len(valid) >= committee.quorum:
        return None
    missing = sorted(set(committee.members) - {approval.server for approval in valid})
    servers = ", ".join(map(str, missing))
    return f"{len(valid)} valid approvals, {committee.quorum} are needed; missing: servers {servers}"
