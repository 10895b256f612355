"""All attacks on the learning by name: whose they are, what they know, and how strong they are by default."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from bees.adversary.learning import collusion, free_riders, optimised, poisoning, replacement, simple, statistical

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bees.adversary.learning.poisoning import Poison
    from bees.adversary.learning.view import Craft
    from bees.scenario import AttackName


@dataclass(frozen=True)
class LearningAttack:
    """One attack.

    Attributes:
        name: in the scenario.
        citation: of the paper that it is from.
        knowledge: what that paper lets the attackers know: their ``own`` updates, or ``all``.
        strength: by default; 0 where it has none, or takes it from the round.
        meaning: of the strength.
        craft: makes the updates, or None where they are those of honest training.
        poison: makes the training data, or None where they are the attacker's own.
    """

    name: AttackName
    citation: str
    knowledge: Literal["own", "all"]
    strength: float
    meaning: str
    craft: Craft | None = None
    poison: Poison | None = None

    @property
    def level(self) -> Literal["update", "data", "both"]:
        """What it changes."""
        if self.craft is None:
            return "data"
        return "update" if self.poison is None else "both"

    @property
    def has_backdoor(self) -> bool:
        """Whether it teaches the model a trigger."""
        return self.poison in {poisoning.plant_backdoor, poisoning.overfit_selection}


_ALL = (
    LearningAttack("label_flip", "Tolpegin et al., ESORICS 2020", "own", 0.0, "none", poison=poisoning.flip_labels),
    LearningAttack("sign_flip", "Li et al., AAAI 2019", "own", 1.0, "factor of the step", craft=simple.sign_flip),
    LearningAttack("scaling", "Bhagoji et al., ICML 2019", "own", 10.0, "factor of the step", craft=simple.scaling),
    LearningAttack(
        "gaussian", "Blanchard et al., NeurIPS 2017", "own", 1.0, "deviation of a weight", craft=simple.gaussian
    ),
    LearningAttack("zero", "Fraboni et al., AISTATS 2021", "own", 0.0, "none", craft=free_riders.zero),
    LearningAttack(
        "noisy_free_rider",
        "Fraboni et al., AISTATS 2021",
        "own",
        0.003,
        "deviation of a weight in block 1",
        craft=free_riders.noisy_free_rider,
    ),
    LearningAttack("mimic", "Karimireddy et al., ICLR 2022", "all", 0.0, "none", craft=collusion.mimic),
    LearningAttack(
        "alie", "Baruch et al., NeurIPS 2019", "own", 0.0, "z, by default of m and f", craft=statistical.alie
    ),
    LearningAttack("ipm", "Xie et al., UAI 2019", "all", 0.1, "epsilon, of the mean step", craft=statistical.ipm),
    LearningAttack(
        "min_max", "Shejwalkar and Houmansadr, NDSS 2021", "all", 1.0, "factor of gamma", craft=optimised.min_max
    ),
    LearningAttack(
        "min_sum", "Shejwalkar and Houmansadr, NDSS 2021", "all", 1.0, "factor of gamma", craft=optimised.min_sum
    ),
    LearningAttack(
        "sybils",
        "Fung et al., RAID 2020",
        "own",
        1.0,
        "factor of the step",
        craft=collusion.sybils,
        poison=poisoning.flip_labels,
    ),
    LearningAttack("backdoor", "Gu et al., BadNets, 2017", "own", 0.0, "none", poison=poisoning.plant_backdoor),
    LearningAttack(
        "model_replacement",
        "Bagdasaryan et al., AISTATS 2020",
        "own",
        0.0,
        "boost of the step, by default averaged / f",
        craft=replacement.model_replacement,
        poison=poisoning.plant_backdoor,
    ),
    LearningAttack(
        "overfit_selection",
        "this project: aims at BEES' selection by accuracy",
        "own",
        2.0,
        "samples of the selection set, in n_k",
        poison=poisoning.overfit_selection,
    ),
)

ATTACKS: Mapping[str, LearningAttack] = MappingProxyType({attack.name: attack for attack in _ALL})
