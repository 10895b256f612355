"""Attacks that need no statistics: each attacker changes its own update, or sends noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from bees.adversary.learning.view import Vectors, View


def sign_flip(view: View, _rng: np.random.Generator) -> Vectors:
    """Go the other way: ``w_g - s (w_k - w_g)``.

    Li, Xu, Chen, Giannakis, Ling, "RSA", AAAI 2019 (sign-flipping). Knows its own update only. s = 1 by default.
    """
    return view.global_model - view.strength * view.steps


def scaling(view: View, _rng: np.random.Generator) -> Vectors:
    """Go much too far in its own direction: ``w_g + s (w_k - w_g)``.

    Bhagoji, Chakraborty, Mittal, Calo, "Analyzing federated learning through an adversarial lens", ICML 2019 (explicit
    boosting), here of an honest update. Knows its own update only. s = 10 by default.
    """
    return view.global_model + view.strength * view.steps


def gaussian(view: View, rng: np.random.Generator) -> Vectors:
    """Send noise about the global model: ``w_g + s N(0, I)``, each attacker its own.

    Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine learning with adversaries", NeurIPS 2017, who draw gradients with
    s = 200. Knows w_g only. s = 1 by default, forty times the root mean square of w_g(0) in the paper's scenario.
    """
    return view.global_model + view.strength * rng.standard_normal(view.own.shape)
