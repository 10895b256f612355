"""A device that trains with PyTorch: `python examples/device_pytorch.py URL KEY GENESIS DATA.npz [ROUNDS]`.

BEES needs the arrays and nothing else: `device.submit` takes what `state_dict()` holds, in its order, which is the
order of the genesis' model here (weight and bias of each layer, as PyTorch shapes them).
"""

from __future__ import annotations

import sys
from itertools import islice

import numpy as np
import torch

from bees.device import Device

LEARNING_RATE, BATCH = 0.05, 32


def main() -> None:
    """Take part in rounds until the network ends, or in as many as are asked for."""
    url, key, genesis, data, *rounds = sys.argv[1:]
    with np.load(data) as arrays:
        x, y = torch.from_numpy(arrays["x_train"]), torch.from_numpy(arrays["y_train"]).long()
    with Device(url, key, genesis) as device:
        hidden, inputs = device.genesis.model.arrays[0].shape
        classes = device.genesis.model.arrays[-1].shape[0]
        model = torch.nn.Sequential(torch.nn.Linear(inputs, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, classes))
        for opened in islice(device.rounds(), int(rounds[0]) if rounds else None):
            given = map(torch.tensor, opened.arrays)
            model.load_state_dict(dict(zip(model.state_dict(), given, strict=True)))
            optimiser = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
            for rows in torch.randperm(len(y)).split(BATCH):
                optimiser.zero_grad()
                torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                optimiser.step()
            trained = [array.numpy() for array in model.state_dict().values()]
            receipt = device.submit(opened, trained, samples=len(y))
            print(f"round {receipt.round}: on the chain: {receipt.accepted}", flush=True)


if __name__ == "__main__":
    main()
