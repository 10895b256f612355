"""The attackers of one experiment: who they are, what they train on, and what they send."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bees.adversary.learning.poisoning import Loot, make_trigger
from bees.adversary.learning.registry import ATTACKS
from bees.adversary.learning.view import view_of
from bees.core.seeds import generator
from bees.learning.partition import NO_SAMPLE, Partition

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.adversary.learning.poisoning import Trigger
    from bees.adversary.learning.registry import LearningAttack
    from bees.core.update_codec import UpdateEncoding
    from bees.learning.datasets import Dataset, EvaluationSet, Labels, Samples
    from bees.scenario import Knowledge, Scenario

_DIGITS = 9
"""0.29 of 100 are 29, whatever binary fractions make of it."""
_LARGEST_FLOAT32_WORD = 2**31 - 2**7
"""The largest word that float32 holds."""
_LARGEST_DIFFERENCE_WORD = 2**31 - 2**26
"""A difference of 8 bits is rounded to 2^25, and feeds back as much: from here, neither leads beyond 32 bits."""


@dataclass(frozen=True, eq=False)
class Adversary:
    """Attacking UEs, who act as one.

    An attacker whose data are poisoned has a second row in the trainer's partition, from K on, which holds them. So
    nobody else's training knows of the attack.

    Attributes:
        scenario: says what they do.
        attack: what that is, or None.
        attackers: their indices, ascending, shape (f,).
        trigger: of the backdoor, or None where the attack has none.
    """

    scenario: Scenario
    attack: LearningAttack | None
    attackers: NDArray[np.int64]
    trigger: Trigger | None

    @property
    def strength(self) -> float:
        """Of the attack; 0 where it takes it from the round."""
        return self.scenario.attack.strength or (self.attack.strength if self.attack else 0.0)

    @property
    def knowledge(self) -> Knowledge:
        """``own`` or ``all``."""
        said = self.scenario.attack.knowledge
        return self.attack.knowledge if said == "paper" and self.attack else said

    def attacks_in(self, t: int) -> bool:
        """Whether anybody attacks in block t."""
        return self.attack is not None and len(self.attackers) > 0 and t >= self.scenario.attack.first_block

    def among(self, devices: NDArray[np.integer], t: int) -> NDArray[np.bool_]:
        """Which of these UEs attack in block t."""
        return np.isin(devices, self.attackers) & self.attacks_in(t)

    def harming(self, devices: NDArray[np.integer], offloads: NDArray[np.bool_], t: int) -> NDArray[np.bool_]:
        """Which of these UEs send something harmful in block t: of one that offloads, only its data can be poisoned."""
        poisons = self.attack is not None and self.attack.poison is not None
        return self.among(devices, t) & (~offloads | poisons)

    def rows(self, participants: NDArray[np.int64], t: int) -> NDArray[np.int64]:
        """The rows of the trainer's partition that these UEs train on in block t, in their order."""
        poisons = self.attack is not None and self.attack.poison is not None
        if not (poisons and self.attacks_in(t)):
            return participants
        twins = self.scenario.topology.devices + np.searchsorted(self.attackers, participants)
        return np.where(self.among(participants, t), twins, participants)

    def strike(
        self,
        global_model: NDArray[np.float32],
        updates: NDArray[np.float32],
        participants: NDArray[np.int64],
        offloads: NDArray[np.bool_],
        t: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Who sends what in block t: the attackers what they craft, all others what they have trained.

        Of a UE that offloads, its server sends the update, which no attacker can change. Whoever has trained to weights
        that cannot be said, as may happen from a wrecked model, sends nothing.

        Args:
            global_model: w_g(t-1), shape (P,).
            updates: as all have trained, shape (m, P).
            participants: their indices, ascending, shape (m,).
            offloads: which of them offload, shape (m,).
            t: block.

        Returns:
            indices, shape (m',), and updates, float32, shape (m', P), those of the others as they were.
        """
        crafts = self.among(participants, t) & ~offloads
        if self.attack is None or self.attack.craft is None:
            crafts = np.zeros_like(crafts)
        sayable = self.can_be_said(updates)
        speaks = sayable | crafts
        # An attacker whose own training has failed goes on from the model that all have.
        held = np.where(sayable[:, None], updates, global_model)[speaks]
        return participants[speaks], self._crafted(global_model, held, crafts[speaks], t)

    def _crafted(
        self, global_model: NDArray[np.float32], updates: NDArray[np.float32], crafts: NDArray[np.bool_], t: int
    ) -> NDArray[np.float32]:
        if self.attack is None or self.attack.craft is None or not crafts.any():
            return updates
        ledger = self.scenario.ledger
        view = view_of(
            global_model,
            updates,
            crafts,
            top_m=1 if ledger.contract == "argmax" else ledger.top_m,
            block=t,
            strength=self.strength,
            knowledge=self.knowledge,
        )
        crafted = self.attack.craft(view, generator(self.scenario.seed, "attack", self.attack.name, t))
        limit = self.largest_weight
        struck = updates.copy()
        struck[crafts] = np.clip(np.nan_to_num(crafted, nan=0.0, posinf=limit, neginf=-limit), -limit, limit)
        return struck

    def can_be_said(self, updates: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whose update the codec can hold, shape (m,): training from a wrecked model may end beyond all numbers."""
        return np.all(np.abs(updates) <= self.largest_weight, axis=1)

    @property
    def largest_weight(self) -> float:
        """The largest weight that an attacker may send: beyond it the codec refuses, and the sender would be silent."""
        learning = self.scenario.learning
        return largest_weight(learning.exponent, learning.update_encoding)


def largest_weight(exponent: int, encoding: UpdateEncoding) -> float:
    """The largest weight that can be sent for sure, whatever w_g is and whatever is fed back.

    Args:
        exponent: e of the codec.
        encoding: how updates are spelled.
    """
    word = _LARGEST_FLOAT32_WORD if encoding == "words" else _LARGEST_DIFFERENCE_WORD
    return word / 2**exponent


def gather(scenario: Scenario, dataset: Dataset) -> Adversary:
    """Draw the attackers, and make their trigger if they have one.

    A larger fraction holds everybody whom a smaller one holds.

    Raises:
        ScenarioError: the trigger does not fit the data.
    """
    plan, devices = scenario.attack, scenario.topology.devices
    attack = ATTACKS.get(plan.name)
    count = 0 if attack is None else int(round(plan.fraction * devices, _DIGITS))
    drawn = generator(scenario.seed, "attack", "devices").permutation(devices)[:count]
    trigger = make_trigger(plan, dataset) if attack is not None and attack.has_backdoor else None
    return Adversary(scenario, attack, np.sort(drawn), trigger)


def poison_data(
    adversary: Adversary, training: Dataset, partition: Partition, selection_set: EvaluationSet
) -> tuple[Dataset, Partition]:
    """The training data with the attackers' poisoned samples at the end, and a second row for each attacker.

    Args:
        adversary: who poisons.
        training: what the UEs hold.
        partition: who holds what, shape (K, n_max).
        selection_set: by which updates are ranked.

    Returns:
        both as they were where nobody poisons; else more samples, and K + f rows of which the first K are the same.
    """
    poison = adversary.attack.poison if adversary.attack else None
    if poison is None or not len(adversary.attackers):
        return training, partition
    made: list[tuple[Samples, Labels]] = []
    for device in adversary.attackers:
        held = partition.samples_of(int(device))
        loot = Loot(
            x=training.x_train[held],
            y=training.y_train[held],
            classes=training.classes,
            selection_set=selection_set,
            trigger=adversary.trigger or make_trigger(adversary.scenario.attack, training),
            strength=adversary.strength,
        )
        made.append(poison(loot, generator(adversary.scenario.seed, "attack", "poison", int(device))))
    extended = replace(
        training,
        x_train=np.concatenate([training.x_train, *(x for x, _ in made)]),
        y_train=np.concatenate([training.y_train, *(y for _, y in made)]),
    )
    return extended, _with_rows(partition, len(training.y_train), [len(y) for _, y in made])


def _with_rows(partition: Partition, first: int, counts: list[int]) -> Partition:
    """More rows, which hold consecutive samples from ``first`` on."""
    devices, width = partition.index.shape
    index = np.full((devices + len(counts), max(width, *counts)), NO_SAMPLE, dtype=np.int32)
    index[:devices, :width] = partition.index
    for row, count in enumerate(counts, start=devices):
        index[row, :count] = np.arange(first, first + count)
        first += count
    return Partition(index, np.concatenate([partition.n, np.array(counts, dtype=np.int32)]))
