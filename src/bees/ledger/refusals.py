"""Why a transaction or a block is refused.

::

    TransactionError
    ├── WrongChainError            signed for another chain
    ├── UnknownParticipantError    nobody of that index in the genesis
    ├── BadSignatureError          not signed by its author
    ├── WrongPhaseError            its phase is not open
    ├── WrongRoundError            another round is open
    ├── StaleModelError            it builds on another w_g(t-1)
    ├── DuplicateError             the author has done this duty already
    ├── SampleCountError           n_k is 0 or above the registered cap
    ├── DelegationError            no, or an impossible, delegation
    ├── AttestationError           an attestation that contradicts itself or the round
    ├── EmptyAccountError          a server without battery has no duties
    ├── NotElectedError            another server's turn to publish
    ├── WrongResultError           not the contract's result
    ├── ConvictedError             its author has lost its turns
    ├── EvidenceError              evidence that proves nothing, or nothing new
    ├── DeployError                a change of contract without right
    ├── AmendError                 a change of the members without right, or an impossible one
    └── RemovedError               its author takes no part any more

    BlockError
    ├── BrokenLinkError            wrong height, chain or previous block
    ├── TransactionRootError       the header names other transactions
    ├── AppHashError               executing it gives another state
    ├── CommitError                no quorum of valid signatures
    └── InvalidTransactionError    one of its transactions is refused; the cause says why
"""

from __future__ import annotations

from dataclasses import dataclass

from bees.core.errors import BlockError, TransactionError


@dataclass(eq=False)
class WrongChainError(TransactionError):
    """The transaction was signed for another chain."""

    chain_id: bytes

    @property
    def message(self) -> str:
        return f"signed for chain {self.chain_id.hex()[:16]}, not for this one"


@dataclass(eq=False)
class UnknownParticipantError(TransactionError):
    """The genesis registers nobody of that index."""

    kind: str
    index: int

    @property
    def message(self) -> str:
        return f"no {self.kind} {self.index} in the genesis"


@dataclass(eq=False)
class BadSignatureError(TransactionError):
    """The transaction is not signed by its author."""

    duty: str
    author: int

    @property
    def message(self) -> str:
        return f"{self.duty} is not signed by its author, {self.author}"


@dataclass(eq=False)
class WrongPhaseError(TransactionError):
    """The phase that takes this transaction is not open."""

    duty: str
    phase: str

    @property
    def message(self) -> str:
        return f"{self.duty} is not taken in phase {self.phase}"


@dataclass(eq=False)
class WrongRoundError(TransactionError):
    """Another round is open."""

    given: int
    open: int

    @property
    def message(self) -> str:
        return f"for round {self.given}, but round {self.open} is open"


@dataclass(eq=False)
class StaleModelError(TransactionError):
    """The transaction builds on another global model than the last published one."""

    given: bytes

    @property
    def message(self) -> str:
        return f"builds on model {self.given.hex()[:16]}, which is not w_g(t-1)"


@dataclass(eq=False)
class DuplicateError(TransactionError):
    """The author has done this duty already in this round."""

    duty: str
    author: int

    @property
    def message(self) -> str:
        return f"{self.author} has sent its {self.duty} for this round already"


@dataclass(eq=False)
class SampleCountError(TransactionError):
    """The claimed n_k is 0 or above the cap that the genesis registers."""

    device: int
    samples: int
    cap: int

    @property
    def message(self) -> str:
        return f"device {self.device} claims {self.samples} samples, allowed are 1 to {self.cap}"


@dataclass(eq=False)
class DelegationError(TransactionError):
    """There is no delegation that covers the transaction, or the delegation is impossible."""

    device: int
    problem: str

    @property
    def message(self) -> str:
        return f"device {self.device}: {self.problem}"


@dataclass(eq=False)
class AttestationError(TransactionError):
    """An attestation contradicts itself or the round."""

    server: int
    problem: str

    @property
    def message(self) -> str:
        return f"attestation of server {self.server}: {self.problem}"


@dataclass(eq=False)
class EmptyAccountError(TransactionError):
    """A server whose account is empty has no duties and does not count."""

    server: int

    @property
    def message(self) -> str:
        return f"the account of server {self.server} is empty"


@dataclass(eq=False)
class NotElectedError(TransactionError):
    """It is another server's turn to publish."""

    server: int
    elected: int | None

    @property
    def message(self) -> str:
        return f"server {self.server} published in the turn of server {self.elected}"


@dataclass(eq=False)
class WrongResultError(TransactionError):
    """The published result is not what the contract gives."""

    server: int
    problem: str

    @property
    def message(self) -> str:
        return f"server {self.server} published a wrong result: {self.problem}"


@dataclass(eq=False)
class ConvictedError(TransactionError):
    """The author was convicted of a lie, and has lost its turns."""

    kind: str
    index: int
    last_round: int

    @property
    def message(self) -> str:
        return f"{self.kind} {self.index} is convicted, and has no turn up to round {self.last_round}"


@dataclass(eq=False)
class EvidenceError(TransactionError):
    """Evidence that proves nothing, or nothing new."""

    problem: str

    @property
    def message(self) -> str:
        return f"evidence: {self.problem}"


@dataclass(eq=False)
class DeployError(TransactionError):
    """A change of contract without the right to it."""

    problem: str

    @property
    def message(self) -> str:
        return f"deploy: {self.problem}"


@dataclass(eq=False)
class AmendError(TransactionError):
    """A change of the members without the right to it, or one that cannot be."""

    problem: str

    @property
    def message(self) -> str:
        return f"amendment: {self.problem}"


@dataclass(eq=False)
class RemovedError(TransactionError):
    """The author, or the device that it speaks for, was removed from the chain."""

    kind: str
    index: int

    @property
    def message(self) -> str:
        return f"{self.kind} {self.index} was removed from the chain"


@dataclass(eq=False)
class BrokenLinkError(BlockError):
    """The block does not follow the last one."""

    height: int
    problem: str

    @property
    def message(self) -> str:
        return f"block {self.height}: {self.problem}"


@dataclass(eq=False)
class TransactionRootError(BlockError):
    """The header names other transactions than the block holds."""

    height: int

    @property
    def message(self) -> str:
        return f"block {self.height}: the header names other transactions"


@dataclass(eq=False)
class AppHashError(BlockError):
    """Executing the block gives another state than its header says."""

    height: int

    @property
    def message(self) -> str:
        return f"block {self.height}: executing it gives another app hash"


@dataclass(eq=False)
class CommitError(BlockError):
    """A block without a quorum of valid signatures."""

    height: int
    problem: str

    @property
    def message(self) -> str:
        return f"block {self.height}: commit refused: {self.problem}"


@dataclass(eq=False)
class InvalidTransactionError(BlockError):
    """One of the block's transactions is refused; the cause says why."""

    height: int
    index: int
    problem: str

    @property
    def message(self) -> str:
        return f"block {self.height}: transaction {self.index}: {self.problem}"
