"""A change of contract (Deploy): what a server signs to approve it, and when enough of them have.

Servers approve apart from one another; their approvals are gathered, and any server carries them to the chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.keys import is_signed_by
from bees.ledger.commitments import hash_contract
from bees.ledger.refusals import DeployError
from bees.ledger.transactions import Approval, Deploy, approval_bytes, sign

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bees.core.keys import Signs
    from bees.ledger.genesis import Genesis
    from bees.ledger.transactions import Signed


def server_of_key(genesis: Genesis, key: Signs) -> int:
    """Index of the server whose key this is.

    Raises:
        DeployError: it is no server's.
    """
    for index, server in enumerate(genesis.servers):
        if server.public_key == key.public_key:
            return index
    raise DeployError(f"the key with the public half {key.public_key.hex()} is no server's")


def approve(genesis: Genesis, nonce: int, code: bytes, key: Signs) -> Approval:
    """A server's approval of a contract.

    Args:
        genesis: of the chain.
        nonce: how many Deploys came before it.
        code: the WebAssembly module.
        key: the server's.

    Raises:
        DeployError: the key is no server's.
    """
    message = approval_bytes(genesis.chain_id, nonce, hash_contract(code))
    return Approval(server_of_key(genesis, key), key.sign(message))


def valid_approvals(genesis: Genesis, nonce: int, code: bytes, approvals: Iterable[Approval]) -> tuple[Approval, ...]:
    """One approval of each server that has really given one, ascending by server."""
    message = approval_bytes(genesis.chain_id, nonce, hash_contract(code))
    found = {
        approval.server: approval
        for approval in approvals
        if 0 <= approval.server < len(genesis.servers)
        and is_signed_by(genesis.servers[approval.server].public_key, message, approval.signature)
    }
    return tuple(found[server] for server in sorted(found))


def assemble(genesis: Genesis, nonce: int, code: bytes, approvals: Iterable[Approval], carrier: Signs) -> Signed:
    """The Deploy transaction, signed by the server that carries it.

    Args:
        genesis: of the chain.
        nonce: how many Deploys came before it.
        code: the WebAssembly module.
        approvals: any; those that are not valid are left out.
        carrier: key of the server that hands it in.

    Raises:
        DeployError: the approvals of more than 2N/3 servers are not there; says whose are missing.
            Or the carrier is no server.
    """
    valid = valid_approvals(genesis, nonce, code, approvals)
    if len(valid) < genesis.committee.quorum:
        missing = sorted(set(range(len(genesis.servers))) - {approval.server for approval in valid})
        raise DeployError(
            f"{len(valid)} valid approvals, {genesis.committee.quorum} are needed; missing: servers "
            f"{', '.join(map(str, missing))}"
        )
    body = Deploy(genesis.chain_id, server_of_key(genesis, carrier), nonce, code, valid)
    return sign(body, carrier)
