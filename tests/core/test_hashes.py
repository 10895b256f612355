from __future__ import annotations

from blake3 import blake3

from bees.core.hashes import HASH_BYTES, digest


def test_it_is_blake3_in_key_derivation_mode_in_a_versioned_domain():
    assert digest("header", b"abc") == blake3(b"abc", derive_key_context="bees v1 header").digest()
    assert len(digest("header", b"")) == HASH_BYTES


def test_domains_are_apart_and_from_the_plain_hash():
    named = {digest(domain, b"same") for domain in ("header", "update", "model", "merkle leaf", "merkle node")}
    assert len(named | {blake3(b"same").digest()}) == 6


def test_parts_are_hashed_one_after_the_other():
    assert digest("update", b"ab", b"c") == digest("update", b"abc") == digest("update", b"", b"abc")


def test_any_buffer_is_taken():
    data = bytearray(range(256)) * 1000
    assert digest("model", data) == digest("model", memoryview(data)) == digest("model", bytes(data))
    assert digest("update", b"x", memoryview(data)) == digest("update", b"x" + bytes(data))
