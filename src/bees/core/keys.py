"""Ed25519 keys and signatures (RFC 8032), through libsodium."""

from __future__ import annotations

from dataclasses import dataclass, field

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import CryptoError

from bees.core.hashes import digest
from bees.core.seeds import stream_key

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class SigningKey:
    """A private key and the public key that belongs to it.

    Attributes:
        public_key: 32 bytes.
    """

    public_key: bytes
    _secret: bytes = field(repr=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key pair that 32 secret bytes determine."""
        public_key, secret = crypto_sign_seed_keypair(seed)
        return cls(public_key, secret)

    @classmethod
    def simulated(cls, seed: int, *name: str | int) -> SigningKey:
        """A key for a simulated participant: anybody who knows the seed of the run can make it again."""
        return cls.from_seed(digest("simulated key", stream_key(seed, *name)))

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of ``message``."""
        return crypto_sign(message, self._secret)[:SIGNATURE_BYTES]


def is_signed_by(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is the signature of ``message`` under ``public_key``."""
    if len(signature) != SIGNATURE_BYTES or len(public_key) != PUBLIC_KEY_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except CryptoError:
        return False
    return True
