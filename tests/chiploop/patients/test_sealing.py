"""Sealing: only the same key, bytes and subject open it, and equal values look different."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiploop.patients.sealing import (
    KEY_BYTES,
    NotOpened,
    commitment,
    key_of_key_file,
    key_of_passphrase,
    new_key,
    seal,
    unseal,
)

ONE, OTHER = new_key(), new_key()


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(plain=st.binary(max_size=200), about=st.binary(max_size=40), place=st.integers(0, 10_000))
def test_what_was_sealed_opens_and_nothing_else_does(
    plain: bytes, about: bytes, place: int
) -> None:
    sealed = seal(ONE, plain, about)
    assert unseal(ONE, sealed, about) == plain
    assert sealed != seal(ONE, plain, about)
    bent = bytearray(sealed)
    bent[place % len(bent)] ^= 1 + place % 255
    for key, content, subject in (
        (OTHER, sealed, about),
        (ONE, bytes(bent), about),
        (ONE, sealed[:-1], about),
        (ONE, sealed, about + b"x"),
        (ONE, b"", about),
    ):
        with pytest.raises(NotOpened):
            unseal(key, content, subject)


def test_a_passphrase_is_stretched_as_the_rfc_has_it() -> None:
    # RFC 7914, section 12, third vector: N = 16384, r = 8, p = 1; its first 32 of 64 bytes
    found = key_of_passphrase("pleaseletmein", b"SodiumChloride", 16384)
    assert found.hex() == "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    assert key_of_passphrase("pleaseletmein", b"another salt", 16) != key_of_passphrase(
        "pleaseletmein", b"SodiumChloride", 16
    )
    assert len(key_of_key_file(b"x" * 32, b"salt")) == KEY_BYTES


def test_a_commitment_is_the_keys_own() -> None:
    assert commitment(ONE, b"31.4") == commitment(ONE, b"31.4")
    assert commitment(ONE, b"31.4") != commitment(ONE, b"31.5")
    assert commitment(ONE, b"31.4") != commitment(OTHER, b"31.4")
