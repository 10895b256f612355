"""Every error that BEES raises on purpose, in one tree.

Each error is a dataclass: its fields hold what is at fault, and ``str(error)`` is one line that names them
and, where there is one, the fix. ``exit_code`` is what the command line ends with: 2 for bad input, 1 for a
failed verification or a run that could not end well.

::

    BeesError
    ├── InputError                   what a person handed in is wrong (exit 2)
    │   ├── ScenarioError            a key of a scenario: source, key, value
    │   │   ├── ScenarioFileError    no such preset or file, or one that is not TOML
    │   │   └── GridError            a grid of attacks: file, key, value
    │   ├── DatasetError             a data file that is broken, altered or does not fit
    │   ├── OutputError              an output folder that exists, or cannot be written
    │   ├── RunFolderError           a folder that is not a run, or lacks a part
    │   ├── MissingExtraError        an optional library that is asked for is not installed
    │   ├── CompileError             the source of a contract that does not compile
    │   └── KeyFileError             a file that holds no private key, or that others may read
    ├── CodecError                   numbers and bytes that have no exact meaning (exit 2)
    │   ├── WeightRangeError         NaN, infinity or out of the fixed-point range
    │   ├── WordRangeError           an update whose word does not fit 32 bits
    │   ├── ModelShapeError          arrays that do not fit the model description
    │   ├── MalformedError           bytes that do not decode
    │   └── NonCanonicalError        bytes that decode, but are another spelling of the same value
    ├── ContractError                the contract: every server finds the same (exit 1)
    │   ├── ContractLoadError        not a module, or one that breaks the ABI or its limits
    │   ├── ContractInputError       arrays that the ABI or the memory limit cannot hold
    │   ├── ContractTrapError        it trapped while running
    │   ├── OutOfFuelError           it used up its fuel
    │   └── ContractOutputError      it returned what the ABI forbids
    ├── VirtualMachineError          this machine cannot judge: another runtime than pinned, or no memory (exit 1)
    ├── LedgerError                  the chain's rules (exit 1)
    │   ├── GenesisError             a genesis that no honest server can start from
    │   ├── TransactionError         a transaction that is refused; its subclasses say why
    │   ├── BlockError               a block that is refused; its subclasses say why
    │   ├── ProofError               a Merkle path or commit quorum that does not prove its claim
    │   └── MissingBlobError         bytes that the contract must read are not at hand
    ├── DoubleSignError              a signer refused to sign a second, different duty (exit 1)
    ├── EngineError                  the engine that orders blocks cannot go on (exit 1)
    │   ├── AbciError                bytes from CometBFT's socket that are no messages of ABCI
    │   ├── CometError               CometBFT cannot be started or reached, or refuses a request
    │   ├── DivergedError            this server's state is not what the other servers have signed
    │   └── NoKeyError               the chain names another key for this server, or it was removed (exit 2)
    ├── NetworkError                 other participants cannot be reached, or answer nonsense (exit 1)
    │   └── NodeRefusesError         a node has refused a request
    ├── NotAMemberError              the servers have removed this device, or replaced its key (exit 2)
    ├── RequestError                 an HTTP request that is refused; its subclasses say why (exit 1)
    ├── ChainFileError               a chain file that is cut, altered or not a chain (exit 1)
    │   └── StorageError             its disk is full, read-only or failing; says nothing of the chain (exit 2)
    ├── WorkerLostError              a process that worked for this one has died (exit 1)
    ├── TrainingError                a server's training for a device that failed or took too long (exit 1)
    └── NoDeviceLeftError            every device is empty (exit 1)

The subclasses of TransactionError and BlockError stand beside the rules that they guard, in
``bees.ledger.refusals``, and those of RequestError in ``bees.transport.refusals``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar


class BeesError(Exception):
    """Root of the tree. Subclasses are dataclasses that define ``message``."""

    exit_code: ClassVar[int] = 1

    @property
    def message(self) -> str:
        """One line that says what is wrong, where, and how to put it right."""
        return self.__class__.__name__

    def __str__(self) -> str:
        return _on_one_line(self.message)

    def as_dict(self) -> dict[str, Any]:
        """The error and its fields, ready for JSON."""
        named = {f.name: _plain(getattr(self, f.name)) for f in _fields(self)}
        return {"error": self.__class__.__name__, "message": str(self), **named}

    def __reduce__(self) -> tuple[Any, ...]:
        # A dataclass bypasses Exception.__init__, so pickling between worker processes needs the fields.
        return (self.__class__, tuple(getattr(self, f.name) for f in _fields(self)))


def _on_one_line(message: str) -> str:
    """The message, fit for a terminal and a log: what it quotes may be hostile, such as a name with line breaks."""
    if message.isprintable():
        return message
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)


def _fields(error: BeesError) -> tuple[Any, ...]:
    return fields(error) if hasattr(error, "__dataclass_fields__") else ()  # type: ignore[arg-type]


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def did_you_mean(wrong: str, known: list[str] | tuple[str, ...]) -> str:
    """A closing clause that suggests the nearest known word, or lists all of them."""
    from difflib import get_close_matches  # noqa: PLC0415  # costs start-up time, and is for the unlucky only

    near = get_close_matches(wrong, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


@dataclass(eq=False)
class InputError(BeesError):
    """Something that a person handed in is wrong.

    Attributes:
        source: the file, option or argument at fault.
        problem: what is wrong with it, and how to put it right.
    """

    source: str
    problem: str

    exit_code: ClassVar[int] = 2

    @property
    def message(self) -> str:
        return f"{self.source}: {self.problem}"


@dataclass(eq=False)
class ScenarioError(InputError):
    """A scenario has an unknown key or an impossible value.

    Attributes:
        key: dotted path of the key at fault, such as ``radio.bandwidth_hz``.
        value: the value that was given.
    """

    key: str = ""
    value: object = None

    @property
    def message(self) -> str:
        return f"{self.source}: {self.key} = {self.value!r}: {self.problem}"


@dataclass(eq=False)
class ScenarioFileError(ScenarioError):
    """There is no such preset or file, or it cannot be read as TOML, so no key can be named."""

    @property
    def message(self) -> str:
        return f"{self.source}: {self.problem}"


@dataclass(eq=False)
class GridError(ScenarioError):
    """A grid of attacks has an unknown key, an impossible value, or is no grid at all; then no key can be named."""

    @property
    def message(self) -> str:
        return super().message if self.key else f"{self.source}: {self.problem}"


@dataclass(eq=False)
class DatasetError(InputError):
    """A data file is broken, altered, or does not fit what it is used for."""


@dataclass(eq=False)
class OutputError(InputError):
    """An output folder exists already, or cannot be written."""


@dataclass(eq=False)
class RunFolderError(InputError):
    """A folder is not a run, or lacks a part that is needed."""


@dataclass(eq=False)
class MissingExtraError(InputError):
    """Something that was asked for needs an optional library that is not installed."""


@dataclass(eq=False)
class CompileError(InputError):
    """The source of a contract does not compile.

    Attributes:
        output: the compiler's words, in several lines.
    """

    output: str = ""

    @property
    def message(self) -> str:
        complaint = next((line for line in self.output.splitlines() if "error:" in line), "see the compiler's words")
        return f"{self.source}: {self.problem}: {complaint}"


@dataclass(eq=False)
class KeyFileError(InputError):
    """A file holds no private key, or others may read it. Never says what is in it."""


class CodecError(BeesError):
    """Numbers or bytes that have no exact meaning."""

    exit_code: ClassVar[int] = 2


@dataclass(eq=False)
class WeightRangeError(CodecError):
    """A weight is NaN, infinite, or outside of the fixed-point range.

    Attributes:
        index: position of the first such weight in the flat vector.
        value: the weight.
        limit: the largest magnitude that the exponent can hold.
    """

    index: int
    value: float
    limit: float

    @property
    def message(self) -> str:
        fix = "lower the learning rate, or the model's exponent"
        return f"weight {self.index} is {self.value!r}, outside of ±{self.limit:g}: {fix}"


@dataclass(eq=False)
class WordRangeError(CodecError):
    """A word of an update, with what is fed back or after rounding, does not fit 32 bits.

    Attributes:
        index: position in the flattened model.
        word: its value.
    """

    index: int
    word: int

    @property
    def message(self) -> str:
        fix = "lower learning.exponent or the learning rate, or check for divergence"
        return f"word {self.index} of the update is {self.word}, which does not fit 32 bits; {fix}"


@dataclass(eq=False)
class ModelShapeError(CodecError):
    """Arrays or bytes do not fit the model description.

    Attributes:
        expected: what the description says.
        found: what was given.
    """

    expected: str
    found: str

    @property
    def message(self) -> str:
        return f"the model is {self.expected}, but {self.found} was given"


@dataclass(eq=False)
class MalformedError(CodecError):
    """Bytes that do not decode to what they should be.

    Attributes:
        what: the type that was expected.
        problem: the decoder's complaint.
    """

    what: str
    problem: str

    @property
    def message(self) -> str:
        return f"not a valid {self.what}: {self.problem}"


@dataclass(eq=False)
class NonCanonicalError(CodecError):
    """Bytes that decode, but spell the value in another way than the canonical one.

    Attributes:
        what: the type that was decoded.
    """

    what: str

    @property
    def message(self) -> str:
        return f"{self.what} is not in its canonical encoding"


@dataclass(eq=False)
class ContractError(BeesError):
    """What a contract is or does wrong: a fact that every server finds, on which a vote may rest.

    Attributes:
        problem: what went wrong.
    """

    problem: str

    @property
    def message(self) -> str:
        return self.problem


@dataclass(eq=False)
class ContractLoadError(ContractError):
    """Not a WebAssembly module, or one that breaks the ABI or its limits."""


@dataclass(eq=False)
class ContractInputError(ContractError):
    """Arrays that the ABI or the memory limit cannot hold were handed to a contract."""


@dataclass(eq=False)
class ContractTrapError(ContractError):
    """The contract trapped while it ran."""


@dataclass(eq=False)
class OutOfFuelError(ContractError):
    """The contract used up its fuel."""


@dataclass(eq=False)
class ContractOutputError(ContractError):
    """The contract returned what the ABI forbids."""


@dataclass(eq=False)
class VirtualMachineError(BeesError):
    """This machine cannot judge a contract: its runtime is not as the genesis pins it, or it has no memory left.

    A fact about one machine, never about a block. Whoever meets it stops; it neither votes nor gives a verdict.

    Attributes:
        problem: what this machine lacks.
    """

    problem: str

    @property
    def message(self) -> str:
        return self.problem


class LedgerError(BeesError):
    """The chain's rules."""


@dataclass(eq=False)
class GenesisError(LedgerError):
    """A genesis that no honest server can start from.

    Attributes:
        field: the field at fault.
        problem: what is wrong with it.
    """

    field: str
    problem: str

    @property
    def message(self) -> str:
        return f"genesis: {self.field}: {self.problem}"


class TransactionError(LedgerError):
    """A transaction that is refused. Its subclasses, in ``bees.ledger.refusals``, say why."""


class BlockError(LedgerError):
    """A block that is refused. Its subclasses, in ``bees.ledger.refusals``, say why."""


@dataclass(eq=False)
class ProofError(LedgerError):
    """A Merkle path or a commit quorum does not prove its claim.

    Attributes:
        problem: which step failed.
    """

    problem: str

    @property
    def message(self) -> str:
        return f"proof refused: {self.problem}"


@dataclass(eq=False)
class MissingBlobError(LedgerError):
    """Bytes that the contract must read are not at hand.

    Attributes:
        commitment: BLAKE3 commitment of the missing update.
    """

    commitment: bytes

    @property
    def message(self) -> str:
        return f"update {self.commitment.hex()[:16]} is missing"


@dataclass(eq=False)
class DoubleSignError(BeesError):
    """A signer refused to sign a second, different duty for the same round.

    Attributes:
        duty: the kind of duty, such as ``Publish``.
        round: the communication round.
    """

    duty: str
    round: int

    @property
    def message(self) -> str:
        return f"already signed another {self.duty} for round {self.round}"


@dataclass(eq=False)
class EngineError(BeesError):
    """The engine that orders blocks cannot go on.

    Attributes:
        problem: why.
    """

    problem: str

    @property
    def message(self) -> str:
        return self.problem


@dataclass(eq=False)
class NetworkError(BeesError):
    """Other participants cannot be reached, or what they answer makes no sense.

    Attributes:
        peer: who was asked.
        problem: what came of it.
    """

    peer: str
    problem: str

    @property
    def message(self) -> str:
        return f"{self.peer}: {self.problem}"


@dataclass(eq=False)
class NodeRefusesError(NetworkError):
    """A node has refused a request.

    Attributes:
        status: of HTTP; 429 and 503 mean: try again later.
    """

    status: int

    @property
    def is_busy(self) -> bool:
        """Whether it may take the same request later."""
        return self.status in {429, 503}


@dataclass(eq=False)
class NotAMemberError(BeesError):
    """The servers have removed this device from the chain, or replaced its key: f+1 nodes say so.

    Attributes:
        device: its index in the genesis.
        is_removed: whether it takes no part any more.
    """

    exit_code: ClassVar[int] = 2  # starting it again changes nothing

    device: int
    is_removed: bool

    @property
    def message(self) -> str:
        if self.is_removed:
            return f"device {self.device} takes no part any more: the servers have removed it from the chain"
        fix = f"give its new key, and --index {self.device} if the genesis does not name that"
        return f"the key at hand is not that of device {self.device}, or not any more: the servers replace keys; {fix}"


@dataclass(eq=False)
class RequestError(BeesError):
    """An HTTP request that is refused. Its subclasses, in ``bees.transport.refusals``, say why.

    Attributes:
        problem: what is wrong with it.
    """

    problem: str

    status: ClassVar[int] = 400

    @property
    def message(self) -> str:
        return self.problem


@dataclass(eq=False)
class AbciError(EngineError):
    """Bytes from an ABCI socket are no messages, or a request that an application cannot answer."""


@dataclass(eq=False)
class CometError(EngineError):
    """CometBFT cannot be started or reached, or refuses a request."""


@dataclass(eq=False)
class NoKeyError(EngineError):
    """The servers have replaced this server's key by one that is not here, or have removed it.

    Attributes:
        is_removed: whether it takes no part any more.
    """

    exit_code: ClassVar[int] = 2  # starting it again changes nothing

    is_removed: bool

    @property
    def message(self) -> str:
        fix = "take it out of service" if self.is_removed else "give the file of its new key as next_key in node.toml"
        return f"{self.problem}; {fix}"


@dataclass(eq=False)
class DivergedError(EngineError):
    """This server's state is not what the other servers have signed, so it must not go on.

    Attributes:
        height: of the block after which the states differ.
    """

    height: int

    @property
    def message(self) -> str:
        fix = "update its software, move chain.db away, call `cometbft reset-state`, and it replays the chain"
        return f"block {self.height}: app hash differs from the chain's: {self.problem}; {fix}"


@dataclass(eq=False)
class ChainFileError(BeesError):
    """A chain file is cut, altered or not a chain.

    Attributes:
        path: the file.
        problem: what is wrong with it.
    """

    path: str
    problem: str

    @property
    def message(self) -> str:
        return f"{self.path}: {self.problem}"


@dataclass(eq=False)
class StorageError(ChainFileError):
    """The disk or the memory under a chain file is full, read-only or failing.

    A fact about one machine, never about the chain: who meets it stops, and gives no verdict.
    """

    exit_code: ClassVar[int] = 2


@dataclass(eq=False)
class TrainingError(BeesError):
    """A training for another has come to nothing.

    Attributes:
        problem: why.
    """

    problem: str

    @property
    def message(self) -> str:
        return self.problem


@dataclass(eq=False)
class WorkerLostError(BeesError):
    """A process that worked for this one has died; what it had finished is kept.

    Attributes:
        exit_code_of_process: as the system tells it; negative is the signal that ended it.
    """

    exit_code_of_process: int | None

    @property
    def message(self) -> str:
        how = f"exit code {self.exit_code_of_process}"
        return f"a process has died ({how}), perhaps for lack of memory; start the same command again to go on"


@dataclass(eq=False)
class NoDeviceLeftError(BeesError):
    """Every device is empty, so no more round can be trained.

    Attributes:
        round: the communication round that found nobody.
    """

    round: int

    @property
    def message(self) -> str:
        return f"no device left at block {self.round}: every battery is empty"
