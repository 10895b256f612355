"""SmartContract(w_l, N) of Algorithm 1: the contract of the chain, run on the frozen ballot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from bees.core.errors import CodecError, ContractError, MissingBlobError
from bees.core.fixed_point import words_to_bytes
from bees.ledger.commitments import commit_to_update, hash_model
from bees.ledger.execution import ContractResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.contract.vm import VirtualMachine
    from bees.core.fixed_point import Words
    from bees.ledger.state import EligibleUpdate, State

    ReadUpdate = Callable[[bytes], bytes | None]


class _Read(Sequence["Words"]):
    """Updates that are read when the contract is given them: all at once would fill the memory twice."""

    def __init__(self, read: Callable[[int], Words], count: int) -> None:
        self._read, self._count = read, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Words: ...
    @overload
    def __getitem__(self, index: slice) -> list[Words]: ...
    def __getitem__(self, index: int | slice) -> Words | list[Words]:
        if isinstance(index, slice):
            return [self._read(i) for i in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._read(index)


class ContractExecutor:
    """Runs contracts for one replica, or for several that share what they have found.

    It keeps the words of w_g, which the state names only by their hash, and the result of the last ballot, so
    that a proposal, its check and its execution run the contract once.

    Attributes:
        models: words of the last global models, by hash.
    """

    def __init__(self, machine: VirtualMachine, read_update: ReadUpdate, initial_model: Words) -> None:
        """Start from w_g(0).

        Args:
            machine: executes WebAssembly.
            read_update: gives the bytes of a committed update, or None.
            initial_model: words of w_g(0), shape (P,).
        """
        self._machine = machine
        self._read_update = read_update
        self.models: dict[bytes, Words] = {hash_model(words_to_bytes(initial_model)): initial_model}
        self._last: tuple[tuple[object, ...], ContractResult] | None = None

    def check(self, code: bytes) -> None:
        """Refuse code that is no contract.

        Raises:
            ContractError: why.
        """
        self._machine.load(code)

    def run(self, state: State) -> ContractResult:
        """Result of the contract in force on ``state.ballot``.

        Raises:
            ContractError: it has no result.
            MissingBlobError: w_g(t-1) or an update is not at hand, or is not what was committed.
        """
        question = (state.genesis.chain_id, state.round, state.contract, state.model, state.ballot)
        if self._last is None or self._last[0] != question:
            self._last = (question, self._run(state))
        return self._last[1]

    def _run(self, state: State) -> ContractResult:
        contract = self._machine.load(state.contract)
        eligible = state.ballot.eligible if state.ballot else ()
        correct, samples = [e.correct for e in eligible], [e.samples for e in eligible]
        picked = [eligible[i] for i in contract.select(correct, samples, state.genesis.top_m)]
        previous = self.models.get(state.model)
        if previous is None:
            raise MissingBlobError(state.model)
        updates = _Read(lambda index: self._words(state, picked[index], previous), len(picked))
        correct, samples = [e.correct for e in picked], [e.samples for e in picked]
        words = contract.aggregate(correct, samples, updates, previous)
        model = hash_model(words_to_bytes(words))
        self.models = {state.model: previous, model: words}
        return ContractResult(tuple(e.device for e in picked), model)

    def _words(self, state: State, update: EligibleUpdate, previous: Words) -> Words:
        data = self._read_update(update.commitment)
        if data is None or commit_to_update(update.device, state.round, data) != update.commitment:
            raise MissingBlobError(update.commitment)
        try:
            return state.genesis.model.read_update(data, previous)
        except CodecError as error:
            # All servers read the same bytes, so this is a fact about the ballot, and the round will be skipped.
            problem = f"the update of device {update.device} has {len(data)} bytes, which is no model: {error}"
            raise ContractError(problem) from error
