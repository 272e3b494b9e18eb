import hashlib
import hmac

import pytest

from service.inference.admission.key_file import parse_keys
from service.inference.admission.keys import Scrypt, hash_of, new_key
from service.inference.admission.rates import UNLIMITED

A = "sha256:" + "a" * 64
B = "sha256:" + "b" * 64
SALTED = f"scrypt:4096:8:1:{'cd' * 16}:{'ef' * 32}"


def test_a_generated_key_is_found_by_its_hash() -> None:
    """It has 256 random bits and a prefix."""
    key = new_key()
    ring = parse_keys(f"app {hash_of(key)} rights=read".encode(), UNLIMITED)

    found = ring.find(key.encode())

    assert found is not None
    assert found.name == "app"
    assert ring.find(key[:-1].encode()) is None
    assert ring.find(b"") is None
    assert key.startswith("ink_")
    assert len(key) == len("ink_") + 43
    assert new_key() != key


def test_digests_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is compared with every hash of the client by `hmac.compare_digest`."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return a == b

    key = new_key()
    digest = hashlib.sha256(key.encode()).digest()
    monkeypatch.setattr(hmac, "compare_digest", compare)
    ring = parse_keys(f"app {hash_of(key)} {A} rights=read".encode(), UNLIMITED)
    salted = Scrypt(4096, 1, 1, b"salt" * 4, b"\0" * 32)

    ring.find(key.encode())
    matches = salted.matches(b"passphrase")

    assert compared[:2] == [(digest, digest), (digest, b"\xaa" * 32)]
    assert compared[2][1] == b"\0" * 32
    assert not matches


def test_a_passphrase_matches_only_its_hash() -> None:
    """Each hash has its own salt."""
    first, second = Scrypt.of("correct-horse-battery"), Scrypt.of("correct-horse-battery")

    ring = parse_keys(f"ann {first} rights=read".encode(), UNLIMITED)

    assert first != second
    assert ring.clients["ann"].scrypt == (first,)
    assert first.matches(b"correct-horse-battery")
    assert not first.matches(b"correct-horse-batterx")


@pytest.mark.parametrize("passphrase", ["", "short", "with some spaces", "naïve-passphrase"])
def test_a_weak_or_unprintable_passphrase_is_refused(passphrase: str) -> None:
    with pytest.raises(ValueError, match="at least 12 printable ASCII characters"):
        Scrypt.of(passphrase)


def test_a_passphrase_follows_the_name() -> None:
    """So that one attempt costs one hash; a passphrase may contain dots."""
    ring = parse_keys(f"ann {SALTED} rights=read\nbob {A} rights=read".encode(), UNLIMITED)

    assert ring.find_passphrase(b"ann.pass.phrase") == (ring.clients["ann"], b"pass.phrase")
    assert ring.find_passphrase(b"bob.passphrase") is None
    assert ring.find_passphrase(b"eve.passphrase") is None
    assert ring.find_passphrase(b"ann") is None
    assert ring.find_passphrase(b"\xff.x") is None
