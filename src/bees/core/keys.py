"""Ed25519 keys and signatures (RFC 8032), and bytes that are sealed to such a key, through libsodium."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from nacl.bindings import (
    crypto_box_seal,
    crypto_box_seal_open,
    crypto_box_SEALBYTES,
    crypto_sign,
    crypto_sign_ed25519_pk_to_curve25519,
    crypto_sign_ed25519_sk_to_curve25519,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import CryptoError

from bees.core.hashes import digest
from bees.core.seeds import stream_key

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
SEAL_BYTES = crypto_box_SEALBYTES
"""By which sealed bytes are longer."""


class Signs(Protocol):
    """Whoever can sign: a key, or something that knows which of several keys is in force."""

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of ``message``."""
        ...


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

    def open_sealed(self, sealed: bytes) -> bytes | None:
        """What was sealed to this key with ``seal``; None where it was not, or was altered."""
        private = crypto_sign_ed25519_sk_to_curve25519(self._secret)
        public = crypto_sign_ed25519_pk_to_curve25519(self.public_key)
        try:
            return crypto_box_seal_open(sealed, public, private)
        except (CryptoError, TypeError):
            return None


def seal(public_key: bytes, data: bytes) -> bytes:
    """Bytes that only the holder of this key can read: libsodium's sealed box, to the key's X25519 form.

    One key pair may sign by Ed25519 and open by X25519 (Thormarker, 2021). Who steals it opens what was sealed before.

    Raises:
        ValueError: it is no public key.
    """
    try:
        return crypto_box_seal(data, crypto_sign_ed25519_pk_to_curve25519(public_key))
    except CryptoError as error:
        raise ValueError(f"{public_key.hex()} is no public key") from error


def is_signed_by(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is the signature of ``message`` under ``public_key``."""
    if len(signature) != SIGNATURE_BYTES or len(public_key) != PUBLIC_KEY_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except CryptoError:
        return False
    return True
