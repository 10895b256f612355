"""What the ledger asks of whoever executes contracts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bees.ledger.state import State


@dataclass(frozen=True)
class ContractResult:
    """What the contract makes of a ballot.

    Attributes:
        selected: the devices in M, ascending.
        model: hash of w_g(t).
    """

    selected: tuple[int, ...]
    model: bytes


class ContractRunner(Protocol):
    """Executes contracts; a pure function of the state and of the bytes that the ballot certifies."""

    def check(self, code: bytes) -> None:
        """Refuse code that is no contract, with a ContractError."""
        ...

    def run(self, state: State) -> ContractResult:
        """The result of the contract in force on the frozen ballot.

        Raises:
            ContractError: it has no result, at any server.
            VirtualMachineError: this machine cannot tell; it stops, and says nothing of the ballot.
            MissingBlobError: an update that it must read is not at hand.
        """
        ...
