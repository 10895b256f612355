"""What a device is told: an open round, and what became of its part in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bees.core.fixed_point import Words


@dataclass(frozen=True)
class DeviceRound:
    """An open round whose w_g(t-1) the device has checked.

    Attributes:
        round: t.
        model: hash of w_g(t-1).
        arrays: of w_g(t-1) as float32, in the order and shapes of the genesis' model.
        words: of w_g(t-1), shape (P,).
    """

    round: int
    model: bytes
    arrays: tuple[NDArray[np.float32], ...]
    words: Words


@dataclass(frozen=True)
class Receipt:
    """What became of an update.

    Attributes:
        round: t.
        commitment: of the update's bytes.
        node: URL of the node that took it; empty where none did, since it came too late for the round.
        accepted: whether a block has it; None where that was not waited for, or no node can tell any more.
    """

    round: int
    commitment: bytes
    node: str
    accepted: bool | None


@dataclass(frozen=True)
class Delegated:
    """What became of a round that was delegated to a server.

    Attributes:
        round: t.
        server: who has trained, and signs.
        node: its URL.
        samples: on how many it says that it has trained.
        seconds: how long it says that it took.
        accepted: whether a block has the update; None where that was not waited for, or no node can tell any more.
    """

    round: int
    server: int
    node: str
    samples: int
    seconds: float
    accepted: bool | None
