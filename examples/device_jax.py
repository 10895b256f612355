"""A device that trains with JAX, by its own loop: `python examples/device_jax.py URL KEY GENESIS DATA.npz [ROUNDS]`.

`bees device` does the same without a line of code, for the models that BEES has. Take this where the model is your own.
"""

from __future__ import annotations

import sys
from itertools import islice

import jax
import numpy as np
from jax import numpy as jnp

from bees.device import Device

LEARNING_RATE, BATCH = 0.05, 32


def logits(weights, x):
    """A hidden layer with ReLU; the arrays come in the order of the genesis' model, mlp-784-25-10."""
    hidden_weight, hidden_bias, output_weight, output_bias = weights
    return jax.nn.relu(x @ hidden_weight.T + hidden_bias) @ output_weight.T + output_bias


def loss(weights, x, y):
    """Cross-entropy, averaged over the batch."""
    return -jnp.mean(jax.nn.log_softmax(logits(weights, x))[jnp.arange(len(y)), y])


@jax.jit
def step(weights, x, y):
    """One step of SGD."""
    return [w - LEARNING_RATE * g for w, g in zip(weights, jax.grad(loss)(weights, x, y), strict=True)]


def train(weights, x, y, draw):
    """One epoch over the data in batches of one size."""
    order = draw.permutation(len(y))
    for start in range(0, len(y) - BATCH + 1, BATCH):
        rows = order[start : start + BATCH]
        weights = step(weights, x[rows], y[rows])
    return weights


def main() -> None:
    """Take part in rounds until the network ends, or in as many as are asked for."""
    url, key, genesis, data, *rounds = sys.argv[1:]
    with np.load(data) as arrays:
        x, y = arrays["x_train"], arrays["y_train"]
    with Device(url, key, genesis) as device:
        draw = np.random.default_rng(device.index)
        for opened in islice(device.rounds(), int(rounds[0]) if rounds else None):
            weights = train([jnp.asarray(w) for w in opened.arrays], x, y, draw)
            receipt = device.submit(opened, [np.asarray(w) for w in weights], samples=len(y))
            print(f"round {receipt.round}: on the chain: {receipt.accepted}", flush=True)


if __name__ == "__main__":
    main()
