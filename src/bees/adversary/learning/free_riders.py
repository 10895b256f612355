"""Free riders: they take the model, hold their n_k against it, and train nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from bees.adversary.learning.view import Vectors, View


def zero(view: View, _rng: np.random.Generator) -> Vectors:
    """Send the global model back: ``w_g``, a step of zero.

    Fraboni, Vidal, Lorenzi, "Free-rider attacks on model aggregation in federated learning", AISTATS 2021 (plain free
    rider). Knows w_g only; has no strength.
    """
    return view.alike(view.global_model)


def noisy_free_rider(view: View, rng: np.random.Generator) -> Vectors:
    """Send the global model back in disguise: ``w_g + s t^-1 N(0, I)``, each attacker its own.

    Fraboni, Vidal, Lorenzi, AISTATS 2021 (disguised free rider with phi(t) = sigma t^-gamma, gamma = 1), who take sigma
    from the first steps of w_g. Here it is the strength, so that the attack depends on no round but its own. Knows w_g
    only. s = 0.003 by default, as large as an honest step in block 1 of the paper's scenario (rms 0.002 to 0.005).
    """
    return view.global_model + view.strength / view.block * rng.standard_normal(view.own.shape)
