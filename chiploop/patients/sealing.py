"""Sealing values with a key, and keys with a passphrase: ciphers of the library `cryptography`, none of our own.

Belongs here: bytes in, bytes out. Not here: files (key_folder, store).

AES-256-GCM (NIST SP 800-38D) with a fresh random nonce of 96 bits for each sealing; a key seals some hundred times
at most, far from the 2^32 of the standard. What a sealing is about (id, version, consent) goes in as associated
data: values put in another patient's place, or of an older version, do not open. Passphrases go through scrypt
(RFC 7914) with the cost that OWASP's Password Storage Cheat Sheet recommends.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

KEY_BYTES, NONCE_BYTES, SALT_BYTES = 32, 12, 16
SCRYPT_COST, SCRYPT_BLOCK, SCRYPT_LANES = 2**17, 8, 1
"""N, r, p: 128 MB and a third of a second for each guess."""


class NotOpened(Exception):
    """A sealing that does not open: another key, or not what was sealed."""


def new_key() -> bytes:
    """Return a random key. From the system, never from a seeded generator: keys must not come twice."""
    return AESGCM.generate_key(8 * KEY_BYTES)


def seal(key: bytes, plain: bytes, about: bytes) -> bytes:
    """Return the nonce and what ``plain`` is sealed to."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, about)


def unseal(key: bytes, sealed: bytes, about: bytes) -> bytes:
    """Return what was sealed; NotOpened for another key, other bytes or another ``about``."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
    except (InvalidTag, ValueError):
        raise NotOpened from None


def key_of_passphrase(passphrase: str, salt: bytes, cost: int = SCRYPT_COST) -> bytes:
    """Return the key of a passphrase."""
    scrypt = Scrypt(salt=salt, length=KEY_BYTES, n=cost, r=SCRYPT_BLOCK, p=SCRYPT_LANES)
    return scrypt.derive(passphrase.encode("utf-8"))


def key_of_key_file(content: bytes, salt: bytes) -> bytes:
    """Return the key of a key file, whose content is random already."""
    return HKDF(SHA256(), KEY_BYTES, salt, b"chiploop patients: key file").derive(content)


def commitment(key: bytes, plain: bytes) -> str:
    """Return a digest of values that only who has the patient's key can make or compare.

    A bare hash of an EASI and an age is found by trying all of them. This one is keyed (HMAC-SHA256), so that what
    stands in the audit says nothing once the key is gone.
    """
    own = HKDF(SHA256(), KEY_BYTES, None, b"chiploop patients: commitment").derive(key)
    keyed = HMAC(own, SHA256())
    keyed.update(plain)
    return keyed.finalize().hex()
