"""The process that trains for devices: a job in, weights out, one after the other, until its input ends.

A process of its own, since a training must neither take the node's interpreter from the loop, nor outlive its time, nor
pull the node down with it.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bees.core.canonical import Record, decode, encode
from bees.core.errors import BeesError
from bees.core.fixed_point import bytes_to_words, dequantise
from bees.core.model import ModelDescription  # msgspec reads the annotations
from bees.ledger.genesis import Hash, Positive  # likewise
from bees.transport.offloading import TrainingSettings, decode_data  # likewise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bees.learning.training import LocalTrainer

_TRAINERS_KEPT = 4
"""Each has its data in memory and a compiled program, which takes a second to make."""
_NICENESS = 10
"""Blocks and attestations go first."""
_LENGTH = struct.Struct("<Q")


class TrainingJob(Record, frozen=True):
    """What is to be trained.

    Attributes:
        name: of the data and the settings together: with the same ones the trainer is the same.
        round: t.
        model: of the genesis.
        own_model: as ``package.module:name``; "": made from the description.
        settings: of the device.
        path: file of its data.
        words: of w_g(t-1), raw little-endian int32.
    """

    name: Hash
    round: Positive
    model: ModelDescription
    own_model: str
    settings: TrainingSettings
    path: str
    words: bytes


class TrainingDone(Record, frozen=True):
    """What came of it.

    Attributes:
        weights: w_k(t), raw little-endian float32; empty where there is a problem.
        problem: why there are none, or "".
    """

    weights: bytes
    problem: str


class Trainers:
    """Trains jobs, and keeps the trainers of the last few devices."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, LocalTrainer] = OrderedDict()

    def train(self, job: TrainingJob) -> TrainingDone:
        """The weights of a job, or what is wrong with it."""
        try:
            trainer = self._trainer(job)
            start = dequantise(bytes_to_words(job.words), job.model.exponent)
            weights = trainer.train(start, job.round, [0])[0]
        except BeesError as error:
            return TrainingDone(b"", str(error) or type(error).__name__)
        except Exception as error:  # noqa: BLE001  # an own model may fail in any way, and the next job is another's
            return TrainingDone(b"", f"{type(error).__name__}: {str(error)[:300]}")
        return TrainingDone(weights.astype("<f4", copy=False).tobytes(), "")

    def _trainer(self, job: TrainingJob) -> LocalTrainer:
        known = self._kept.pop(job.name, None) or _make(job, *decode_data(Path(job.path).read_bytes()))
        self._kept[job.name] = known
        while len(self._kept) > _TRAINERS_KEPT:
            self._kept.popitem(last=False)
        return known


def _make(job: TrainingJob, x: NDArray[np.float32], y: NDArray[np.int32]) -> LocalTrainer:
    from bees.learning.described import model_of  # noqa: PLC0415  # the node imports this file, and not JAX by it
    from bees.learning.own_training import make_trainer  # noqa: PLC0415  # likewise
    from bees.learning.samples import Samples  # noqa: PLC0415  # likewise
    from bees.scenario import Learning  # noqa: PLC0415  # likewise

    how = job.settings
    learning = Learning(
        epochs=how.epochs, batch_size=how.batch_size, learning_rate=how.learning_rate, clients_per_chunk=1
    )
    return make_trainer(model_of(job.model, job.own_model), [Samples(x, y)], learning, how.seed)


def frame(data: bytes) -> bytes:
    """Bytes with their length before them."""
    return _LENGTH.pack(len(data)) + data


def read_frame(source: BinaryIO) -> bytes | None:
    """The next frame; None at the end."""
    head = source.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    data = source.read(size)
    return data if len(data) == size else None


def main() -> None:
    """Train what comes on standard input. What libraries print goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the node, which ends this
    os.nice(_NICENESS)
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        trainers = Trainers()
        while (data := read_frame(sys.stdin.buffer)) is not None:
            answers.write(frame(encode(trainers.train(decode(data, TrainingJob)))))
            answers.flush()
