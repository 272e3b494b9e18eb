"""API keys: clients, their rights and limits, and the hashes of their keys.

The command line uses this module too, so it imports nothing heavy.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from service.inference.admission.rates import RateLimits

PREFIX = "ink_"
"""Prefix of generated keys, so that scanners for leaked secrets can find them."""

MAX_KEY_BYTES = 512
"""Size limit of a key in a request; a longer one is unknown."""

MIN_PASSPHRASE = 12
"""Minimum length of a passphrase, in characters."""

MAX_SCRYPT_BYTES = 32 * 2**20
"""Maximum memory of one scrypt computation."""

_SECRET_BYTES = 32
_SALT_BYTES = 16
_DIGEST_BYTES = 32
_PASSPHRASE = re.compile(r"[!-~]+", re.ASCII)


class Right(StrEnum):
    """A right of a client."""

    PREDICT = "predict"
    READ = "read"
    MANAGE = "manage"


@dataclass(frozen=True, slots=True)
class Scrypt:
    """A salted scrypt hash of a passphrase; slow to compute on purpose.

    Attributes:
        n: CPU and memory cost, a power of 2.
        r: Block size.
        p: Parallelisation.
        salt: Random bytes.
        digest: 32 bytes.
    """

    n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, passphrase: str) -> "Scrypt":
        """Hash a passphrase with a new salt; takes 16 MiB and about 50 ms of one core.

        Raises:
            ValueError: It is too short, or has characters that a header field cannot hold.
        """
        if len(passphrase) < MIN_PASSPHRASE or not _PASSPHRASE.fullmatch(passphrase):
            raise ValueError(f"at least {MIN_PASSPHRASE} printable ASCII characters without spaces")
        salt = secrets.token_bytes(_SALT_BYTES)
        empty = cls(2**14, 8, 1, salt, b"")
        return cls(empty.n, empty.r, empty.p, salt, empty.compute(passphrase.encode()))

    def compute(self, passphrase: bytes) -> bytes:
        """Return the digest of a passphrase; releases the interpreter lock."""
        return hashlib.scrypt(
            passphrase,
            salt=self.salt,
            n=self.n,
            r=self.r,
            p=self.p,
            maxmem=2 * MAX_SCRYPT_BYTES,
            dklen=_DIGEST_BYTES,
        )

    def matches(self, passphrase: bytes) -> bool:
        """Return whether this is the passphrase's hash; compares in constant time."""
        return hmac.compare_digest(self.compute(passphrase), self.digest)

    def __str__(self) -> str:
        return f"scrypt:{self.n}:{self.r}:{self.p}:{self.salt.hex()}:{self.digest.hex()}"


@dataclass(frozen=True, slots=True)
class Client:
    """A client: one line of the key file.

    Attributes:
        name: Name in the log and the audit record.
        rights: What it may do.
        limits: Its rate limits.
        models: Names of the models that it may use; None for all.
        sha256: SHA-256 digests of its generated keys.
        scrypt: Hashes of its passphrases.
    """

    name: str
    rights: frozenset[Right]
    limits: RateLimits = field(default_factory=RateLimits)
    models: frozenset[str] | None = None
    sha256: tuple[bytes, ...] = ()
    scrypt: tuple[Scrypt, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All clients of a key file; immutable.

    Attributes:
        clients: Clients by name.
        by_digest: Clients by SHA-256 digest of a key.
    """

    clients: Mapping[str, Client]
    by_digest: Mapping[bytes, Client]

    def find(self, key: bytes) -> Client | None:
        """Return the client of a generated key; None if no client has it.

        The lookup is by digest, so its time reveals nothing about the key. The digest that is found is
        compared in constant time.
        """
        digest = hashlib.sha256(key).digest()
        client = self.by_digest.get(digest)
        if client is None:
            return None
        is_equal = [hmac.compare_digest(digest, other) for other in client.sha256]
        return client if any(is_equal) else None

    def find_passphrase(self, key: bytes) -> tuple[Client, bytes] | None:
        """Split a key `NAME.PASSPHRASE` into client and passphrase; None if it names no client with one.

        The name selects the salt, so that one attempt costs one hash and not one for every client.
        """
        name, dot, passphrase = key.partition(b".")
        client = self.clients.get(name.decode("latin-1")) if dot else None
        return (client, passphrase) if client is not None and client.scrypt else None


def new_key() -> str:
    """Return a new key: 32 random bytes as text."""
    return PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).decode().rstrip("=")


def hash_of(key: str) -> str:
    """Return the hash of a generated key, as in the key file; 256 random bits need no slow hash."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
