"""What a run yields: a row per communication round, arrays per UE, and the final model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.core.model import ModelDescription
    from bees.scenario import Scenario


class RoundRow(msgspec.Struct, frozen=True, kw_only=True):
    """One communication round (block index t of the paper).

    Attributes:
        block: t, from 1.
        accuracy: fraction of the test set that w_g(t) gets right.
        best_local_accuracy: the best UE's accuracy on the evaluation set, before aggregation; 0 if nobody is eligible.
        mean_local_accuracy: the mean UE's.
        latency_s: end-to-end delay of this block: the slowest UE's.
        total_latency_s: sum over all blocks so far (Fig. 5).
        energy_j: of all UEs in this block (Eq. 9).
        computation_energy_j: its part by Eq. 7.
        transmission_energy_j: its part by Eq. 8.
        total_energy_j: sum over all blocks so far (Fig. 6 to 8).
        server_energy_j: of all edge servers in this block; no battery of a UE pays for it.
        charged_devices: UEs that were not empty when the block began: the survival curve.
        participating_devices: UEs that began the block: not empty, and not waiting for a better charge.
        active_devices: UEs that took part to the end: their update arrived.
        offloading_devices: those of them with d_k = 1.
        uplink_bytes: all that UEs sent to their servers.
        downlink_bytes: all that they received.
        backhaul_bytes: all that servers sent to one another.
        raw_bytes: raw data that left their owners in this block, part of uplink_bytes.
        raw_samples_shared: distinct samples that have left their owners in this block or before.
        eligible_updates: updates that 2f+1 servers attested.
        selected: the UEs in M.
        main_node: the server that published, or None when the round was skipped.
        model: hash of w_g(t), hexadecimal.
        height: ledger height of the block that closed the round.
        contract: hash of the contract that was in force, hexadecimal.
        attacking_devices: UEs whose update arrived, and who attack in this block.
        attackers_selected: how many of M they are.
        backdoor_success: fraction of the marked test samples of other labels that w_g(t) takes for the target; None
            without a backdoor.
        refused_updates: updates that arrived, and that the ledger did not take; also such as could not be said,
            because training from a wrecked model ended beyond the codec's range.
        ineligible_updates: updates that the ledger took, but not 2f+1 servers attested.
        outvoted_attestations: servers whose score for an eligible update is not the one that stands, or that attest
            not to hold one.
        convicted: who was convicted in this block or before, such as ``device 3``.
    """

    block: int
    accuracy: float
    best_local_accuracy: float
    mean_local_accuracy: float
    latency_s: float
    total_latency_s: float
    energy_j: float
    computation_energy_j: float
    transmission_energy_j: float
    total_energy_j: float
    server_energy_j: float
    charged_devices: int
    participating_devices: int
    active_devices: int
    offloading_devices: int
    uplink_bytes: float
    downlink_bytes: float
    backhaul_bytes: float
    raw_bytes: float
    raw_samples_shared: int
    eligible_updates: int
    selected: tuple[int, ...]
    main_node: int | None
    model: str
    height: int
    contract: str = ""
    attacking_devices: int = 0
    attackers_selected: int = 0
    backdoor_success: float | None = None
    refused_updates: int = 0
    ineligible_updates: int = 0
    outvoted_attestations: int = 0
    convicted: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeviceTrace:
    """Per-UE arrays of shape (T, K), a row per block.

    Attributes:
        offloads: d_k.
        participates: whether the UE began the block.
        active: whether its update arrived.
        compute_time_s: t_k^C (Eq. 4), on the UE or on its server.
        transmit_time_s: t_k^T (Eq. 6).
        energy_j: E_k^total (Eq. 9).
        charge_j: left in the battery after the block, with what was harvested; 0 is an empty UE.
        raw_bytes: raw data that left the UE.
    """

    offloads: NDArray[np.bool_]
    participates: NDArray[np.bool_]
    active: NDArray[np.bool_]
    compute_time_s: NDArray[np.float64]
    transmit_time_s: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    charge_j: NDArray[np.float64]
    raw_bytes: NDArray[np.float64]

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, for an .npz file."""
        return asdict(self)


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        scenario: what was run.
        rounds: a row per communication round.
        devices: per-UE arrays.
        model: description of the model.
        weights: final w_g, float32, shape (P,).
        phase_seconds: wall-clock seconds by phase, summed over the rounds; no part of the deterministic result.
    """

    scenario: Scenario
    rounds: tuple[RoundRow, ...]
    devices: DeviceTrace
    model: ModelDescription
    weights: NDArray[np.float32]
    phase_seconds: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Accuracy of w_g after each block, shape (T,)."""
        return np.array([row.accuracy for row in self.rounds])

    @property
    def total_latency_s(self) -> NDArray[np.float64]:
        """Accumulated end-to-end latency after each block, shape (T,)."""
        return np.array([row.total_latency_s for row in self.rounds])

    @property
    def total_energy_j(self) -> NDArray[np.float64]:
        """Accumulated energy after each block, shape (T,)."""
        return np.array([row.total_energy_j for row in self.rounds])

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The final model's arrays by name, in their own shapes."""
        parts = np.split(self.weights, np.cumsum([array.size for array in self.model.arrays])[:-1])
        named = zip(self.model.arrays, parts, strict=True)
        return {description.name: part.reshape(description.shape) for description, part in named}
