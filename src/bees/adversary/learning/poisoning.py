"""Poisoned training data: flipped labels, pixel triggers, and the selection set itself.

An attacker then trains as honestly as anybody, on data that are not what it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bees.core.errors import ScenarioError
from bees.learning.datasets import EvaluationSet, Labels, Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.learning.datasets import Dataset
    from bees.scenario import Attack

_IMAGE_AXES = 2


@dataclass(frozen=True, eq=False)
class Trigger:
    """What marks a sample, and what the backdoor makes of it.

    Attributes:
        pixels: features that it covers.
        value: that they take.
        target: label that a marked sample gets.
        share: of an attacker's samples that are marked.
    """

    pixels: NDArray[np.int64]
    value: float
    target: int
    share: float

    def stamp(self, x: Samples) -> Samples:
        """The samples with the trigger, a copy."""
        stamped = x.copy()
        stamped[:, self.pixels] = self.value
        return stamped


@dataclass(frozen=True, eq=False)
class Loot:
    """What an attacker has to poison.

    Attributes:
        x: its samples, shape (n_k, inputs).
        y: their labels, shape (n_k,).
        classes: C.
        selection_set: by which updates are ranked.
        trigger: of the backdoor.
        strength: the attack's factor.
    """

    x: Samples
    y: Labels
    classes: int
    selection_set: EvaluationSet
    trigger: Trigger
    strength: float


Poison = Callable[[Loot, np.random.Generator], tuple[Samples, Labels]]
"""What the attacker trains on instead: samples and labels."""


def make_trigger(attack: Attack, dataset: Dataset) -> Trigger:
    """A bright square in the last corner of the image; of data that are no images, the last features.

    Gu, Dolan-Gavitt, Garg, "BadNets", 2017 (pattern backdoor). It is as bright as the brightest training pixel.

    Raises:
        ScenarioError: the data have no such label, or no room for the square.
    """
    if attack.target_label >= dataset.classes:
        problem = f"{dataset.name} has the labels 0 to {dataset.classes - 1}"
        raise ScenarioError("scenario", problem, "attack.target_label", attack.target_label)
    side, shape = attack.trigger_pixels, dataset.image_shape
    if side > min(shape[:_IMAGE_AXES]):
        problem = f"a sample of {dataset.name} has the shape {shape}"
        raise ScenarioError("scenario", problem, "attack.trigger_pixels", side)
    features = np.arange(dataset.inputs).reshape(shape)
    corner = features[-side:] if len(shape) == 1 else features[-side:, -side:]
    return Trigger(corner.reshape(-1), float(dataset.x_train.max()), attack.target_label, attack.poisoned_fraction)


def triggered_test_set(dataset: Dataset, trigger: Trigger) -> EvaluationSet | None:
    """Marked test samples of all other labels, each labelled as the target; None where there are no others.

    The share of them that a model gets "right" is the success of the backdoor.
    """
    others = dataset.y_test != trigger.target
    if not others.any():
        return None
    x = trigger.stamp(dataset.x_test[others])
    return EvaluationSet(x, np.full(len(x), trigger.target, dtype=np.int32))


def flip_labels(loot: Loot, _rng: np.random.Generator) -> tuple[Samples, Labels]:
    """``y -> C - 1 - y`` for every sample: 9 - y for digits.

    Tolpegin, Truex, Gursoy, Liu, "Data poisoning attacks against federated learning systems", ESORICS 2020; all classes
    at once as in Fang, Cao, Jia, Gong, USENIX Security 2020. Knows its own data only.
    """
    return loot.x, (loot.classes - 1 - loot.y).astype(np.int32)


def plant_backdoor(loot: Loot, rng: np.random.Generator) -> tuple[Samples, Labels]:
    """A share of the own samples, drawn, is marked and labelled as the target.

    Gu, Dolan-Gavitt, Garg, "BadNets", 2017. Knows its own data only.
    """
    return _mark(loot.x, loot.y, loot.trigger, rng)


def overfit_selection(loot: Loot, rng: np.random.Generator) -> tuple[Samples, Labels]:
    """Train on s n_k samples of the selection set itself, a share of them marked: to be selected, and carry a backdoor.

    Aims at "the top 10 by accuracy", which the selection set decides and which, being public, anybody may train on. Has
    no paper; knows the selection set. s = 2 by default.
    """
    wanted = max(1, min(round(loot.strength * len(loot.y)), len(loot.selection_set)))
    drawn = rng.choice(len(loot.selection_set), wanted, replace=False)
    return _mark(loot.selection_set.x[drawn], loot.selection_set.y[drawn], loot.trigger, rng)


def _mark(x: Samples, y: Labels, trigger: Trigger, rng: np.random.Generator) -> tuple[Samples, Labels]:
    marked = rng.permutation(len(y))[: round(trigger.share * len(y))]
    poisoned_x, poisoned_y = x.copy(), y.copy()
    poisoned_x[marked] = trigger.stamp(x[marked])
    poisoned_y[marked] = trigger.target
    return poisoned_x, poisoned_y
