"""Where a chain stands, for whoever wants to change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bees.core.errors import BeesError
from bees.core.keys import is_signed_by
from bees.engines.chain_file import ChainReader
from bees.engines.standing import Standing, standing_of_file
from bees.ledger.proofs import Committees
from bees.ledger.state import initial_state
from tests.file_chain import FileChain

if TYPE_CHECKING:
    from pathlib import Path


def test_state_and_committees_are_those_of_the_replayed_chain(tmp_path: Path):
    chain = FileChain(tmp_path)
    assert standing_of_file(chain.path) == Standing.at_genesis(chain.world.signed)
    assert standing_of_file(chain.path).state == initial_state(chain.world.genesis)
    chain.block(chain.world.amend(0, (0, 1, 2), 0, 1, is_removed=True))
    pending = standing_of_file(chain.path)
    assert pending.state == chain.state
    assert pending.state.next_members is not None
    assert pending.proofs == ()
    chain.skip_round()
    chain.block(chain.world.deploy(0, (0, 2, 3)))
    chain.skip_round()
    now = standing_of_file(chain.path)
    assert (now.state, now.state.amendments, now.state.deploys) == (chain.state, 1, 1)
    known = Committees(chain.world.genesis).follow(now.proofs, is_signed_by)
    assert [committee for _, committee in known.changes] == [chain.state.members.committee]
    assert chain.state.members.committee.members == (0, 2, 3)


def test_a_chain_that_is_not_right_stands_nowhere(tmp_path: Path):
    chain = FileChain(tmp_path)
    chain.block()
    with ChainReader(chain.path) as reader:
        (stored,) = reader.blocks()
    data = chain.path.read_bytes()
    chain.path.write_bytes(data.replace(stored.commit[-20:], bytes(20)))
    with pytest.raises(BeesError):
        standing_of_file(chain.path)
