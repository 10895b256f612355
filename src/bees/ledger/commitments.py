"""How updates and models are named on the chain: by the hash of all their bytes, never of a printout."""

from __future__ import annotations

import struct

from bees.core.hashes import digest


def commit_to_update(device: int, round_: int, update: bytes | memoryview) -> bytes:
    """``BLAKE3(device, round, update bytes)``: bound to both, so nobody can claim or replay another's update."""
    return digest("update", struct.pack("<QQ", device, round_), update)


def hash_model(words: bytes | memoryview) -> bytes:
    """Hash of w_g, from its raw little-endian words."""
    return digest("model", words)


def hash_contract(code: bytes) -> bytes:
    """The name of a contract on the chain."""
    return digest("contract", code)
