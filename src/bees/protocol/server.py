"""The duties of an edge server (SBS): hold and score the updates, and publish when it is the main node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, overload

from bees.core.errors import CodecError, ContractError, MissingBlobError
from bees.ledger.commitments import commit_to_update
from bees.ledger.state import Phase
from bees.ledger.transactions import Attest, Publish

if TYPE_CHECKING:
    from bees.core.fixed_point import Words
    from bees.ledger.execution import ContractRunner
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed
    from bees.protocol.signer import Signer

Evaluate = Callable[[Sequence[bytes]], Sequence[int]]
"""For the bytes of each update: how many of the T evaluation samples its model gets right."""


def held_updates(
    state: State, read_update: Callable[[bytes], bytes | None], global_model: Words | None = None
) -> dict[int, bytes]:
    """The updates of the round whose bytes are at hand, are what was committed, and are a model; by device, ascending.

    Args:
        state: after the last block.
        read_update: gives the bytes of a committed update, or None.
        global_model: words of w_g(t-1), shape (P,); where updates are ``words``, they are read without it.

    Raises:
        MissingBlobError: updates are differences to w_g(t-1), and that is not at hand.
    """
    _check_can_read(state, global_model)
    held: dict[int, bytes] = {}
    for device, update in sorted(state.updates.items()):
        data = read_update(update.commitment)
        if data is not None and _is_right(state, device, update.commitment, data, global_model):
            held[device] = data
    return held


class HeldUpdates(Mapping[int, bytes]):
    """``held_updates`` that are read again each time that they are asked for, so that they never fill the memory.

    Args:
        state: after the last block.
        read_update: gives the bytes of a committed update, or None.
        global_model: words of w_g(t-1), shape (P,); where updates are ``words``, they are read without it.

    Raises:
        MissingBlobError: updates are differences to w_g(t-1), and that is not at hand; or one is gone when it is read.
    """

    def __init__(
        self, state: State, read_update: Callable[[bytes], bytes | None], global_model: Words | None = None
    ) -> None:
        _check_can_read(state, global_model)
        self._read = read_update
        self._names = {
            device: update.commitment
            for device, update in sorted(state.updates.items())
            if (data := read_update(update.commitment)) is not None
            and _is_right(state, device, update.commitment, data, global_model)
        }

    def __getitem__(self, device: int) -> bytes:
        data = self._read(self._names[device])
        if data is None:
            raise MissingBlobError(self._names[device])
        return data

    def __iter__(self) -> Iterator[int]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _InOrder(Sequence[bytes]):
    """The held updates in the order of their devices."""

    def __init__(self, held: Mapping[int, bytes]) -> None:
        self._held, self._devices = held, tuple(held)

    def __len__(self) -> int:
        return len(self._devices)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self._held[device] for device in self._devices[index]]
        return self._held[self._devices[index]]


def _check_can_read(state: State, global_model: Words | None) -> None:
    if global_model is None and state.genesis.model.update_encoding != "words":
        raise MissingBlobError(state.model)


def _is_right(state: State, device: int, name: bytes, data: bytes, global_model: Words | None) -> bool:
    return _is_model(state, data, global_model) and commit_to_update(device, state.round, data) == name


def _is_model(state: State, data: bytes, global_model: Words | None) -> bool:
    try:
        state.genesis.model.read_update(data, global_model)
    except CodecError:
        return False
    return True


def attest(signer: Signer, server: int, state: State, held: Mapping[int, bytes], evaluate: Evaluate) -> Signed | None:
    """The server's Attest, or None when it has no such duty now.

    Args:
        signer: the server's.
        server: its index.
        state: after the last block.
        held: the updates that it holds, from ``held_updates`` or as ``HeldUpdates``.
        evaluate: scores them.

    Raises:
        DoubleSignError: it has attested otherwise in this round.
    """
    if state.phase is not Phase.ATTEST or server in state.attestations or server not in state.attesters:
        return None
    devices = tuple(held)
    body = Attest(
        chain_id=state.genesis.chain_id,
        round=state.round,
        previous_model=state.model,
        server=server,
        devices=devices,
        correct=tuple(evaluate(_InOrder(held))),
    )
    return signer.sign(body, ("Attest", state.round))


def publish(signer: Signer, server: int, state: State, runner: ContractRunner) -> Signed | None:
    """The Publish of the main node, or None when it is not this server's turn or the contract has no result.

    Raises:
        DoubleSignError: it has published otherwise in this round.
        MissingBlobError: an update that the contract must read is not at hand.
        VirtualMachineError: this machine cannot run the contract; silence would hide that.
    """
    if state.main_node != server or not state.servers[server].is_active:
        return None
    try:
        result = runner.run(state)
    except ContractError:
        return None
    body = Publish(
        chain_id=state.genesis.chain_id,
        round=state.round,
        previous_model=state.model,
        server=server,
        selected=result.selected,
        model=result.model,
    )
    return signer.sign(body, ("Publish", state.round))
