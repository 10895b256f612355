"""A change of contract (Deploy): what a server signs to approve it, and when enough of them have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.ledger.commitments import hash_contract
from bees.ledger.refusals import DeployError
from bees.ledger.transactions import Approval, Deploy, approval_bytes, sign
from bees.protocol.approvals import gather, lack_of, not_in_force, server_of_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bees.core.keys import Signs
    from bees.ledger.committee import Committee
    from bees.ledger.transactions import Signed


def approve(chain_id: bytes, committee: Committee, nonce: int, code: bytes, key: Signs) -> Approval:
    """A server's approval of a contract.

    Args:
        chain_id: of the genesis.
        committee: the servers that count.
        nonce: how many Deploys came before it.
        code: the WebAssembly module.
        key: the server's.

    Raises:
        DeployError: the key is no server's.
    """
    message = approval_bytes(chain_id, nonce, hash_contract(code))
    return Approval(_server_of(committee, key), key.sign(message))


def valid_approvals(
    chain_id: bytes, committee: Committee, nonce: int, code: bytes, approvals: Iterable[Approval]
) -> tuple[Approval, ...]:
    """One approval of each server that has really given one, ascending by server."""
    return gather(committee, approval_bytes(chain_id, nonce, hash_contract(code)), approvals)


def assemble(
    chain_id: bytes, committee: Committee, nonce: int, code: bytes, approvals: Iterable[Approval], carrier: Signs
) -> Signed:
    """The Deploy transaction, signed by the server that carries it.

    Args:
        chain_id: of the genesis.
        committee: the servers that count.
        nonce: how many Deploys came before it.
        code: the WebAssembly module.
        approvals: any; those that are not valid are left out.
        carrier: key of the server that hands it in.

    Raises:
        DeployError: the approvals of more than 2N/3 servers are not there; says whose are missing.
            Or the carrier is no server.
    """
    valid = valid_approvals(chain_id, committee, nonce, code, approvals)
    lack = lack_of(committee, valid)
    if lack is not None:
        raise DeployError(lack)
    return sign(Deploy(chain_id, _server_of(committee, carrier), nonce, code, valid), carrier)


def _server_of(committee: Committee, key: Signs) -> int:
    server = server_of_key(committee, key)
    if server is None:
        raise DeployError(not_in_force(key))
    return server
