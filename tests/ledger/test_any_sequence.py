"""The state transition under any sequence of transactions, right ones and hostile ones, in any blocks.

Whatever is sent, nothing but a BeesError is raised, what is refused leaves no trace, and no round can be held open.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from records import values_of
from world import (
    DEVICE_KEYS,
    DEVICES,
    FAILING_CONTRACT,
    NEXT_KEYS,
    SERVER_KEYS,
    SERVERS,
    SUM_CONTRACT,
    World,
    genesis,
)

from bees.core.canonical import decode, encode
from bees.core.errors import BeesError, CodecError, MissingBlobError, TransactionError
from bees.ledger.block import Batch
from bees.ledger.genesis import DutyCosts, PhaseLengths, ServerRecord
from bees.ledger.membership import Change, Members
from bees.ledger.refusals import InvalidTransactionError
from bees.ledger.replay import replay
from bees.ledger.state import Phase, state_tree
from bees.ledger.transactions import Amend, Deploy, Evidence, Publish, Signed, Statement, Transaction, sign

if TYPE_CHECKING:
    from bees.core.keys import SigningKey
    from bees.ledger.state import State

DEVICE, SERVER = st.integers(0, DEVICES - 1), st.integers(0, SERVERS - 1)
CODES = st.sampled_from([SUM_CONTRACT, FAILING_CONTRACT, b"product", b"", b"junk"])
# Few values, so that hostile ones often meet what is there.
SMALL = st.integers(-1, 12) | st.sampled_from([2**63 - 1, 2**32])
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "round": SMALL,
    "device": SMALL,
    "server": SMALL | st.none(),
    "samples": SMALL | st.integers(99, 101),
    "first_round": SMALL,
    "last_round": SMALL,
    "nonce": SMALL,
    "devices": st.lists(SMALL, max_size=4).map(tuple),
    "correct": st.lists(SMALL | st.integers(49, 51), max_size=4).map(tuple),
    "selected": st.lists(SMALL, max_size=4).map(tuple),
    "commitment": st.binary(min_size=32, max_size=32),
    "previous_model": st.just(bytes(32)),
    "model": st.just(bytes(32)),
    "second": st.none(),
    "chain_id": st.just(bytes(32)),
    "code": CODES,
    "approvals": st.just(()),
    "change": values_of(Change),
    "consent": st.none() | st.just(bytes(64)),
}
KEYS = (*SERVER_KEYS, *DEVICE_KEYS)


def authors_of(body: Any) -> list[SigningKey]:
    """Keys of the server and of the device that the body names, where there are such."""
    named = ((getattr(body, "server", None), SERVER_KEYS), (getattr(body, "device", None), DEVICE_KEYS))
    return [keys[index] for index, keys in named if index is not None and 0 <= index < len(keys)]


class AnySequence(RuleBasedStateMachine):
    """A replica, the transactions that wait for it, and everything that was ever sent."""

    @initialize(
        lengths=st.tuples(*[st.integers(1, 4)] * 4),
        batteries_mj=st.lists(st.sampled_from([0, 15, 1000, 1000, 1000]), min_size=SERVERS, max_size=SERVERS),
        costs=st.tuples(*[st.sampled_from([0, 1, 10])] * 3),
        readings=st.tuples(
            st.sampled_from(["capacity_over_battery", "capacity_times_battery", "loss_reduction", "round_robin"]),
            st.sampled_from(["all_servers", "all_servers", "main_node"]),
        ),
    )
    def found(
        self, lengths: tuple[int, ...], batteries_mj: list[int], costs: tuple[int, ...], readings: tuple[str, str]
    ) -> None:
        servers = [
            ServerRecord(record.public_key, record.capacity_hz, battery_mj)
            for record, battery_mj in zip(genesis().servers, batteries_mj, strict=True)
        ]
        self.world = World.of(
            servers=tuple(servers),
            phases=PhaseLengths(*lengths),
            costs=DutyCosts(*costs),
            pol=readings[0],
            verification=readings[1],
        )
        self.pool: list[Signed] = []
        self.sent: list[Signed] = []

    @property
    def state(self) -> State:
        return self.world.state

    def send(self, *transactions: Signed) -> None:
        before = self.state, self.world.application.app_hash
        for sent in transactions:
            try:
                signed = decode(encode(sent), Signed)
            except CodecError:  # what no decoder lets in cannot reach the ledger
                continue
            with contextlib.suppress(TransactionError, MissingBlobError):
                self.world.application.check_tx(signed)
            assert (self.state, self.world.application.app_hash) == before
            self.pool.append(signed)
            self.sent.append(signed)

    @rule(devices=st.sets(DEVICE, min_size=1))
    def devices_update(self, devices: set[int]) -> None:
        self.send(*(self.world.update(device) for device in devices))

    @rule(device=DEVICE, server=SERVER, rounds=st.integers(1, 3))
    def device_delegates_and_server_updates(self, device: int, server: int, rounds: int) -> None:
        self.send(self.world.delegate(device, server, rounds=rounds), self.world.update(device, server=server))

    @rule(servers=st.sets(SERVER, min_size=1), honest=st.booleans(), data=st.data())
    def servers_attest(self, servers: set[int], honest: bool, data: st.DataObject) -> None:
        for server in servers:
            said = None if honest else data.draw(st.dictionaries(DEVICE, st.integers(0, 50), max_size=3))
            self.send(self.world.attest(server, None if said is None else dict(sorted(said.items()))))

    @rule(blocks=st.integers(1, 3))
    def everybody_does_the_duty_of_the_phase(self, blocks: int) -> None:
        for _ in range(blocks):
            match self.state.phase:
                case Phase.COLLECT:
                    self.send(*(self.world.update(device) for device in range(DEVICES)))
                case Phase.ATTEST:
                    self.send(*(self.world.attest(server) for server in range(SERVERS)))
                case Phase.PUBLISH if self.state.main_node is not None:
                    with contextlib.suppress(BeesError):  # a contract without result, or bytes that never were
                        self.send(self.world.publish())
                case _:
                    pass
            self.a_block_of_what_can_go_together()

    @rule(code=CODES, approvers=st.sampled_from([(0, 1, 2), (1, 2, 3), (0, 1, 2, 3), (0, 1), ()]))
    def servers_deploy(self, code: bytes, approvers: tuple[int, ...]) -> None:
        self.send(self.world.deploy(code, approvers))

    @rule(
        who=st.tuples(st.just("server"), SERVER) | st.tuples(st.just("device"), DEVICE),
        key=st.sampled_from([None, *NEXT_KEYS.values(), *KEYS[:2]]),
        approvers=st.none() | st.sampled_from([(0, 1, 2), (1, 2, 3), (0, 1), ()]),
        carrier=st.none() | SERVER,
    )
    def servers_amend(
        self,
        who: tuple[str, int],
        key: SigningKey | None,
        approvers: tuple[int, ...] | None,
        carrier: int | None,
    ) -> None:
        committee = self.state.members.committee
        by = committee.members[-committee.quorum :] if approvers is None else approvers
        server = committee.members[0] if carrier is None else carrier
        self.send(self.world.amend(*who, key, approvers=by, server=server))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), reporter=SERVER)
    def a_server_accuses_somebody(self, data: st.DataObject, reporter: int) -> None:
        duties = [
            Statement(s.body, s.signature) for s in self.sent if not isinstance(s.body, Amend | Deploy | Evidence)
        ]
        chosen = data.draw(st.lists(st.sampled_from(duties), min_size=1, max_size=2)) if duties else []
        if not chosen:
            return
        first, *rest = sorted(chosen, key=lambda statement: encode(statement.body))
        body = Evidence(self.world.genesis.chain_id, reporter, first, rest[0] if rest else None)
        self.send(sign(body, SERVER_KEYS[reporter]))

    @rule(body=values_of(Transaction), key=st.sampled_from(KEYS))
    def anybody_sends_anything(self, body: Transaction, key: SigningKey) -> None:
        mine = msgspec.structs.replace(body, chain_id=self.world.genesis.chain_id)
        self.send(Signed(body, bytes(64)), sign(body, key), sign(mine, key))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def somebody_changes_what_was_sent(self, data: st.DataObject) -> None:
        signed = data.draw(st.sampled_from(self.sent))
        fields = [name for name in signed.body.__struct_fields__ if name != "first"]
        names = data.draw(st.sets(st.sampled_from(fields), min_size=1, max_size=2))
        body = msgspec.structs.replace(signed.body, **{name: data.draw(FIELDS[name]) for name in names})
        self.send(Signed(body, signed.signature), *(sign(body, key) for key in authors_of(body)))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def somebody_replays(self, data: st.DataObject) -> None:
        self.send(*data.draw(st.lists(st.sampled_from(self.sent), max_size=4)))

    @rule()
    def a_block_of_what_can_go_together(self) -> None:
        batch = self.world.application.prepare_proposal(self.pool)
        self.pool.clear()
        self.commit(batch)

    @rule(data=st.data())
    def a_block_of_anything(self, data: st.DataObject) -> None:
        chosen = data.draw(st.permutations(self.pool))[:6] if self.pool else []
        before = self.state, self.world.application.app_hash
        try:
            self.world.application.execute(Batch(tuple(chosen)))
        except (InvalidTransactionError, MissingBlobError):
            assert (self.state, self.world.application.app_hash) == before
            return
        self.commit(Batch(tuple(chosen)))

    def commit(self, batch: Batch) -> None:
        before = self.state
        self.world.block(*batch.transactions)
        after = self.state
        assert after.height == before.height + 1
        if after.round == before.round:
            assert after.members == before.members
            assert after.model == before.model
            assert before.updates.items() <= after.updates.items()
        else:
            assert after.round == before.round + 1
            assert after.next_members is None
            assert after.outcome is not None
            assert (after.outcome.round, after.outcome.model) == (before.round, after.model)
            if after.outcome.is_skipped:
                assert after.model == before.model
            else:
                assert any(isinstance(signed.body, Publish) for signed in batch.transactions)

    @invariant()
    def the_state_is_sound(self) -> None:
        state = self.state
        assert all(0 <= account.battery_mj < 2**63 for account in state.servers)
        self.the_members_are_sound(state)
        assert all(0 <= device < DEVICES for device in state.updates)
        assert all(1 <= update.samples <= 100 for update in state.updates.values())
        assert all(set(said.devices) <= set(state.updates) for said in state.attestations.values())
        assert set(state.attestations) <= set(range(SERVERS))
        assert all(
            0 <= d.server < SERVERS and d.first_round <= state.round <= d.last_round for d in state.delegations.values()
        )
        is_elected_early = state.genesis.verification == "main_node" and state.phase is Phase.ATTEST
        assert (state.ballot is not None) == (state.phase is Phase.PUBLISH or is_elected_early)
        assert all(state.round <= last <= state.round + 3 for last in state.convictions.values())
        assert not state.attestations or state.phase is not Phase.COLLECT
        assert state_tree(state).root == self.world.application.app_hash

    def the_members_are_sound(self, state: State) -> None:
        keys, devices = state.members.committee.keys, state.members.devices
        assert (len(keys), len(devices)) == (SERVERS, DEVICES)
        in_force = [key for key in (*keys, *devices) if key is not None]
        assert len(in_force) == len(set(in_force))
        assert state.members.committee.members
        assert any(devices)
        removed = [k for k, key in enumerate(keys) if key is None]
        assert all(state.servers[k].battery_mj == 0 for k in removed)
        ranked = state.ballot.ranking if state.ballot else ()
        assert set(removed).isdisjoint({*ranked, *state.attestations, *state.attesters})
        assert all(devices[k] is not None for k in (*state.delegations, *state.updates))
        assert state.amendments or state.members == Members.of(state.genesis)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        phases = self.world.genesis.phases
        longest = phases.collect + phases.attest + phases.publish * min(phases.publish_ranks, SERVERS)
        for _ in range(2):
            open_round, blocks = self.state.round, 0
            while self.state.round == open_round:
                self.commit(Batch(()))
                blocks += 1
                assert blocks <= longest
        self.everybody_replays_to_the_same_state()

    def everybody_replays_to_the_same_state(self) -> None:
        *_, last = replay(self.world.signed, self.world.stored, self.world.runner)
        assert last.state == self.state


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(deadline=None, max_examples=80, stateful_step_count=25)
