from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bees.contract.library import load_contract_code
from bees.experiment import lay_groundwork
from bees.ledger.committee import Committee
from bees.ledger.refusals import DeployError
from bees.ledger.state import initial_state
from bees.ledger.transactions import Approval, Deploy
from bees.ledger.transition import apply_transaction
from bees.protocol.approvals import server_of_key
from bees.protocol.deployment import approve, assemble, valid_approvals
from bees.scenario_file import load_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.core.keys import SigningKey
    from bees.founding import Founding
    from bees.ledger.execution import ContractResult
    from bees.ledger.state import State

CODE = load_contract_code("argmax")


@dataclass
class AnyCode:
    """Takes all code for a contract."""

    def check(self, code: bytes) -> None: ...

    def run(self, state: State) -> ContractResult:
        raise NotImplementedError


@cache
def world() -> Founding:
    return lay_groundwork(load_scenario("quick", ["topology.servers=7"])).founding


@settings(deadline=None, max_examples=40)
@given(st.sets(st.integers(0, 6)), st.integers(0, 3), st.integers(0, 6))
def test_the_chain_takes_a_deploy_when_more_than_two_thirds_approve(approvers: set[int], nonce: int, carrier: int):
    founding = world()
    genesis, keys = founding.genesis.genesis, founding.server_keys
    chain_id, committee = genesis.chain_id, genesis.committee
    approvals = [approve(chain_id, committee, nonce, CODE, keys[server]) for server in sorted(approvers, reverse=True)]
    if 3 * len(approvers) <= 2 * 7:
        with pytest.raises(DeployError, match="missing: servers") as refusal:
            assemble(chain_id, committee, nonce, CODE, approvals, keys[carrier])
        missing = str(refusal.value).rpartition("servers ")[2].split(", ")
        assert {int(server) for server in missing} == set(range(7)) - approvers
        return
    signed = assemble(chain_id, committee, nonce, CODE, approvals, keys[carrier])
    state = apply_transaction(replace(initial_state(genesis), deploys=nonce), signed.body, AnyCode())
    assert (state.next_contract, state.deploys) == (CODE, nonce + 1)
    assert isinstance(signed.body, Deploy)
    assert [approval.server for approval in signed.body.approvals] == sorted(approvers)


def test_an_approval_of_something_else_counts_for_nothing():
    founding = world()
    genesis, keys = founding.genesis.genesis, founding.server_keys
    chain_id, committee = genesis.chain_id, genesis.committee
    right = approve(chain_id, committee, 0, CODE, keys[1])
    others = [
        approve(chain_id, committee, 1, CODE, keys[2]),
        approve(chain_id, committee, 0, CODE + b"\0", keys[2]),
        approve(replace(genesis, name="another").chain_id, committee, 0, CODE, keys[2]),
        Approval(2, right.signature),
        Approval(7, right.signature),
        Approval(2, b""),
    ]
    assert valid_approvals(chain_id, committee, 0, CODE, [*others, right, *others, right]) == (right,)


def test_only_the_keys_of_the_servers_in_force_approve_and_carry():
    founding = world()
    genesis, keys = founding.genesis.genesis, founding.server_keys
    chain_id = genesis.chain_id
    assert [server_of_key(genesis.committee, key) for key in keys] == list(range(7))
    stolen, removed, new = keys[2], keys[5], founding.device_keys[0]
    now = Committee((*keys_of(keys[:2]), new.public_key, *keys_of(keys[3:5]), None, keys[6].public_key))
    for key in (stolen, removed, founding.device_keys[1]):
        with pytest.raises(DeployError, match="no server's, or not any more"):
            approve(chain_id, now, 0, CODE, key)
    given = [approve(chain_id, genesis.committee, 0, CODE, key) for key in keys[:6]]
    assert [one.server for one in valid_approvals(chain_id, now, 0, CODE, given)] == [0, 1, 3, 4]
    with pytest.raises(DeployError, match=r"4 valid approvals, 5 are needed; missing: servers 2, 6"):
        assemble(chain_id, now, 0, CODE, given, keys[0])
    given.append(approve(chain_id, now, 0, CODE, new))
    assert assemble(chain_id, now, 0, CODE, given, new).body.server == 2
    with pytest.raises(DeployError, match="no server's"):
        assemble(chain_id, now, 0, CODE, given, stolen)


def keys_of(keys: Sequence[SigningKey]) -> list[bytes]:
    return [key.public_key for key in keys]
