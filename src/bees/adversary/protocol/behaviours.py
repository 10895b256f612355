"""All ways to lie, by name: those that change what leaves, and those that make up something of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from bees.adversary.protocol import consensus_lies as consensus
from bees.adversary.protocol import device_lies as device
from bees.adversary.protocol import ledger_lies as ledger
from bees.adversary.protocol.coalition import Liar, LyingDevice

Tamper = Callable[[Liar, int, object], tuple[object, ...]]
"""Given the receiver and what the honest program would send to it: what is sent instead."""

Act = Callable[[Liar], list[tuple[int, object]]]
"""Once per block: what else is sent, and to whom."""

TamperDevice = Callable[[LyingDevice, int, object], tuple[object, ...]]

TAMPERS: Mapping[str, Tamper] = MappingProxyType(
    {
        "silence": consensus.stay_silent,
        "two proposals": consensus.propose_twice,
        "two votes": consensus.vote_twice,
        "garbage block": consensus.propose_garbage,
        "censorship": consensus.censor,
        "forged decision": consensus.forge_decision,
        "wrong publish": ledger.publish_wrong,
        "two publishes": ledger.publish_twice,
        "false attestation": ledger.attest_falsely,
        "two attestations": ledger.attest_twice,
        "withheld bytes": ledger.withhold_bytes,
        "garbage bytes": ledger.give_garbage,
        "false news to devices": ledger.lie_to_devices,
    }
)

ACTS: Mapping[str, Act] = MappingProxyType(
    {
        "flood of votes": consensus.flood,
        "votes for others": consensus.vote_for_others,
        "votes for nothing": consensus.vote_for_nothing,
        "flood of questions": consensus.ask_again_and_again,
        "forged transactions": ledger.forge,
        "replayed transactions": ledger.replay,
        "copied signatures": ledger.copy_signature,
        "early asking": ledger.ask_early,
        "late answers": ledger.answer_late,
        "false delegation": ledger.lie_about_delegation,
        "false accusation": ledger.accuse_falsely,
        "hostile contract": ledger.deploy_hostile_contract,
    }
)

DEVICE_TAMPERS: Mapping[str, TamperDevice] = MappingProxyType(
    {
        "two updates": device.update_twice,
        "two delegations": device.delegate_twice,
        "withheld bytes": device.withhold_bytes,
        "garbage bytes": device.give_garbage,
        "no model": device.commit_to_no_model,
        "stolen commitment": device.steal_commitment,
        "too many samples": device.overstate_samples,
        "another model": device.build_on_another_model,
        "update for others": device.update_for_others,
    }
)

SERVER_BEHAVIOURS = (*TAMPERS, *ACTS)
DEVICE_BEHAVIOURS = tuple(DEVICE_TAMPERS)
