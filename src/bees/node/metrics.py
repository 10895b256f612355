"""What Prometheus may know of a node: a registry of its own for each node, none for the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from bees.ledger.state import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bees.ledger.state import State
    from bees.node.judge import Counts

_OUTVOTED_SHARE = 100
"""An attested count that differs from the median by more than a hundredth of the samples counts as outvoted."""


_COUNTED = {
    "transactions_refused": "Transactions that CheckTx has refused, those checked again after a block included.",
    "proposals_rejected": "Proposed blocks that this server has voted against.",
    "blobs_fetched": "Updates that a block needed and another server gave.",
    "fetches_failed": "Tries to get an update that a block needed which gave nothing, or other bytes.",
    "signatures_refused": "Signatures of other servers under headers, forged or of no use.",
}
"""What the ledger counts itself: fields of ``bees.node.judge.Counts``."""


class Metrics:
    """All of a node's metrics; their help texts say what each means."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._height = Gauge("bees_height", "Height of the last decided block.", registry=self.registry)
        self._round = Gauge("bees_round", "The open communication round t.", registry=self.registry)
        self._phase = Gauge("bees_phase", "1 for the phase that is open.", ["phase"], registry=self.registry)
        self._skipped = Counter("bees_skipped_rounds", "Rounds without a result.", registry=self.registry)
        self._convicted = Gauge("bees_convicted", "Participants without a turn for now.", registry=self.registry)
        self.selected = Gauge("bees_selected_devices", "M of the last closed round.", registry=self.registry)
        self.duties = Counter(
            "bees_duties", "Transactions that this server has sent.", ["kind"], registry=self.registry
        )
        self.uploads = Counter("bees_uploads", "Updates that devices have uploaded here.", registry=self.registry)
        self.uploaded_bytes = Counter("bees_uploaded_bytes", "Bytes of these updates.", registry=self.registry)
        self.refusals = Counter(
            "bees_refused_requests", "Requests that were refused, by reason.", ["error"], registry=self.registry
        )
        self.pulls = Counter(
            "bees_pulls", "Tries to pull an update from a server.", ["server", "result"], registry=self.registry
        )
        self.withheld = Counter(
            "bees_withheld_blobs",
            "Times that a server did not give an update which it attests to hold.",
            ["server"],
            registry=self.registry,
        )
        self.outvoted = Counter(
            "bees_outvoted_attestations",
            "Counts that a server attested and that are far from the median.",
            ["server"],
            registry=self.registry,
        )
        self.peer_bytes = Counter(
            "bees_peer_bytes",
            "Bytes of updates and signatures that servers have exchanged with this one, without HTTP's heads.",
            ["kind", "direction"],
            registry=self.registry,
        )
        self.blobs = Gauge("bees_blob_store_bytes", "Size of the updates on disk.", registry=self.registry)
        self.scoring = Histogram(
            "bees_scoring_seconds", "How long it takes to score a round's updates.", registry=self.registry
        )
        self.trainings = Counter(
            "bees_offloaded_trainings", "Trainings for devices that offload.", ["result"], registry=self.registry
        )
        self.training = Histogram(
            "bees_offloaded_training_seconds", "How long a training for a device takes.", registry=self.registry
        )
        self.late_trainings = Counter(
            "bees_offloaded_late", "Trainings whose update no block of its round has taken.", registry=self.registry
        )
        self.raw_data = Gauge(
            "bees_offloaded_data_bytes", "Size of the raw data of devices on disk.", registry=self.registry
        )
        self._last: State | None = None

    def follow(self, state: State) -> None:
        """Take note of the state after a block."""
        before, self._last = self._last, state
        self._height.set(state.height)
        self._round.set(state.round)
        for phase in Phase:
            self._phase.labels(str(phase)).set(phase is state.phase)
        self._convicted.set(sum(last >= state.round for last in state.convictions.values()))
        if before is not None and before.round < state.round and state.outcome is not None:
            self._skipped.inc(state.outcome.is_skipped)
            self.selected.set(len(state.outcome.selected))
        if state.phase is Phase.PUBLISH and (before is None or before.phase is not Phase.PUBLISH):
            self._count_outvoted(state)

    def watch(self, counts: Counts) -> None:
        """Tell what a ledger counts, too."""
        self.registry.register(_LedgerCounts(counts))

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)

    def _count_outvoted(self, state: State) -> None:
        median = {update.device: update.correct for update in state.ballot.eligible} if state.ballot else {}
        allowed = state.genesis.evaluation_samples / _OUTVOTED_SHARE
        for server, said in state.attestations.items():
            counts = dict(zip(said.devices, said.correct, strict=True))
            far = sum(abs(counts[device] - score) > allowed for device, score in median.items() if device in counts)
            self.outvoted.labels(str(server)).inc(far)


class _LedgerCounts(Collector):
    """Reads the ledger's counts whenever Prometheus asks."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[CounterMetricFamily]:
        """A counter for each."""
        for name, told in _COUNTED.items():
            yield CounterMetricFamily(f"bees_{name}", told, value=getattr(self._counts, name))
