"""The duty to report: a server that hears two answers to one duty, or a wrong Publish, puts the proof on the chain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bees.core.canonical import encode
from bees.core.errors import MissingBlobError
from bees.ledger.evidence import author_of, check_result, question_of, round_of
from bees.ledger.refusals import WrongResultError
from bees.ledger.state import Phase
from bees.ledger.transactions import Amend, Deploy, Evidence, Publish, Statement, sign

if TYPE_CHECKING:
    from bees.core.keys import Signs
    from bees.ledger.evidence import Question
    from bees.ledger.execution import ContractRunner
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed


@dataclass
class Witness:
    """What one server has heard in the open round, and what of it proves a lie.

    It keeps one answer for each duty that a registered participant can have, so a flood of messages cannot fill it.

    Attributes:
        server: its index.
        key: with which it reports.
    """

    server: int
    key: Signs
    _heard: dict[Question, Statement] = field(default_factory=dict["Question", "Statement"])
    _reported: set[Question] = field(default_factory=set["Question"])
    _suspects: dict[Question, Statement] = field(default_factory=dict["Question", "Statement"])

    def hear(self, state: State, signed: Signed) -> Signed | None:
        """Take note of a transaction whose signature was checked; returns Evidence if it contradicts another.

        Args:
            state: after the last block.
            signed: of the open round or the one before; any other is ignored.
        """
        body = signed.body
        if isinstance(body, Evidence | Deploy | Amend) or not state.round - 1 <= round_of(body) <= state.round:
            return None
        new = Statement(body, signed.signature)
        if isinstance(body, Publish):
            self._suspects.setdefault(question_of(body), new)
        known = self._heard.setdefault(question_of(body), new)
        if known.body == body or question_of(body) in self._reported or state.is_convicted(author_of(body)):
            return None
        self._reported.add(question_of(body))
        first, second = sorted((known, new), key=lambda statement: encode(statement.body))
        return self._report(state, first, second)

    def judge(self, state: State, runner: ContractRunner) -> list[Signed]:
        """Evidence against whoever has published something else than the contract's result.

        Call it after each block and whenever bytes have arrived: a server that cannot execute the contract yet
        accuses nobody.
        """
        if state.phase is not Phase.PUBLISH or state.genesis.verification != "all_servers":
            return []
        found: list[Signed] = []
        for question, statement in list(self._suspects.items()):
            if round_of(statement.body) != state.round:
                continue
            try:
                is_wrong = _is_wrong(state, statement, runner)
            except MissingBlobError:
                continue
            del self._suspects[question]
            if is_wrong and not state.is_convicted(author_of(statement.body)):
                found.append(self._report(state, statement, None))
        return found

    def forget(self, before: int) -> None:
        """Drop what was heard of rounds before this one."""
        self._heard = {q: t for q, t in self._heard.items() if round_of(t.body) >= before}
        self._reported &= self._heard.keys()
        self._suspects = {q: t for q, t in self._suspects.items() if round_of(t.body) >= before}

    def _report(self, state: State, first: Statement, second: Statement | None) -> Signed:
        return sign(Evidence(state.genesis.chain_id, self.server, first, second), self.key)


def _is_wrong(state: State, statement: Statement, runner: ContractRunner) -> bool:
    if not isinstance(statement.body, Publish):
        return False
    try:
        check_result(state, statement.body, runner)
    except WrongResultError:
        return True
    return statement.body.previous_model != state.model
