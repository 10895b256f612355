"""Independent random streams from one seed: same seed and same name, same numbers, whatever ran before."""

from __future__ import annotations

import numpy as np

from bees.core.hashes import digest


def generator(seed: int, *name: str | int) -> np.random.Generator:
    """A NumPy generator for the stream ``name`` of ``seed``.

    Args:
        seed: the experiment's seed, at least 0.
        name: what the stream is for, such as ``("topology",)`` or ``("channel", block_index)``.
    """
    return np.random.Generator(np.random.Philox(key=int.from_bytes(stream_key(seed, *name)[:16], "little")))


def stream_key(seed: int, *name: str | int) -> bytes:
    """32 bytes that depend on ``seed`` and ``name`` alone."""
    return digest("seed stream", "/".join([str(seed), *map(str, name)]).encode())
