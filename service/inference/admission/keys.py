"""The key file: which clients there are, the hashes of their keys, and what each may do.

One line a client: its name, one or more hashes, and options. Comments begin with `#`.

    # name  hashes               options
    app     sha256:9f86d0…       rights=predict,read  rate=100/s  images=5000/s  models=ink,mlp-128

It imports nothing heavy: the command line uses it too.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from service.inference.admission.rates import Limits, Rate, parse

PREFIX = "ink_"
"""What a generated key begins with, so that scanners for leaked secrets can find it."""

MAX_KEY_BYTES = 512
"""Size of a key in a request; a longer one is unknown without a look."""

MIN_PASSPHRASE = 12
"""Characters of a passphrase that a person chooses."""

_SECRET_BYTES = 32
_SALT_BYTES = 16
_DIGEST_BYTES = 32
_MAX_CLIENTS = 10_000
_MAX_HASHES = 4
_MAX_SCRYPT_BYTES = 32 * 2**20
_MAX_SHOWN = 40

_NAME = re.compile(r"(?!ink_)[A-Za-z0-9_-]{1,40}", re.ASCII)  # no key and no hash: names are logged
_MODEL = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_PASSPHRASE = re.compile(r"[!-~]+", re.ASCII)
_SHA256 = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
_SCRYPT = re.compile(
    r"scrypt:([0-9]{1,7}):([0-9]{1,3}):([0-9]{1,2}):([0-9a-f]{16,128}):([0-9a-f]{64})", re.ASCII
)
_COUNT = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)


class Right(StrEnum):
    """What a key may be used for."""

    PREDICT = "predict"
    READ = "read"
    MANAGE = "manage"


class KeysInvalid(ValueError):
    """The key file is not what it should be. The message names the line, but repeats no key and no hash."""


@dataclass(frozen=True, slots=True)
class Scrypt:
    """A salted hash that is slow to compute, for a passphrase that a person chose.

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
        """Hash a passphrase with a new salt; 16 MiB and some 50 ms of one core.

        Raises:
            ValueError: It is too short, or has characters that a header field cannot hold.
        """
        if len(passphrase) < MIN_PASSPHRASE or not _PASSPHRASE.fullmatch(passphrase):
            raise ValueError(f"at least {MIN_PASSPHRASE} printable ASCII characters without spaces")
        salt = secrets.token_bytes(_SALT_BYTES)
        empty = cls(2**14, 8, 1, salt, b"")
        return cls(empty.n, empty.r, empty.p, salt, empty.compute(passphrase.encode()))

    def compute(self, passphrase: bytes) -> bytes:
        """Return the digest of a passphrase. The interpreter lock is released meanwhile."""
        return hashlib.scrypt(
            passphrase,
            salt=self.salt,
            n=self.n,
            r=self.r,
            p=self.p,
            maxmem=2 * _MAX_SCRYPT_BYTES,
            dklen=_DIGEST_BYTES,
        )

    def matches(self, passphrase: bytes) -> bool:
        """Tell whether this is the passphrase's hash; in a time that does not depend on the difference."""
        return hmac.compare_digest(self.compute(passphrase), self.digest)

    def __str__(self) -> str:
        return f"scrypt:{self.n}:{self.r}:{self.p}:{self.salt.hex()}:{self.digest.hex()}"


@dataclass(frozen=True, slots=True)
class Client:
    """One line of the key file.

    Attributes:
        name: Stands in the log and the audit record.
        rights: What it may do.
        limits: Its rate limits.
        models: Names of the models that it may use; None is all.
        sha256: Digests of its keys.
        scrypt: Slow hashes of its passphrases.
    """

    name: str
    rights: frozenset[Right]
    limits: Limits = field(default_factory=Limits)
    models: frozenset[str] | None = None
    sha256: tuple[bytes, ...] = ()
    scrypt: tuple[Scrypt, ...] = ()


@dataclass(frozen=True, slots=True)
class Ring:
    """All clients of a key file; never changes.

    Attributes:
        clients: By name.
        by_digest: By SHA-256 digest of a key.
    """

    clients: Mapping[str, Client]
    by_digest: Mapping[bytes, Client]

    def find(self, key: bytes) -> Client | None:
        """Return the client with this key, if its hash is a SHA-256.

        The table is searched by the digest of what was presented, so time can tell of the digest alone, of
        which the key cannot be computed. The digest found is compared in constant time.
        """
        digest = hashlib.sha256(key).digest()
        client = self.by_digest.get(digest)
        if client is None:
            return None
        is_equal = [hmac.compare_digest(digest, other) for other in client.sha256]
        return client if any(is_equal) else None

    def named(self, key: bytes) -> tuple[Client, bytes] | None:
        """Return the client that a key `NAME.PASSPHRASE` names, and the passphrase; None if it names none.

        The name says which salt to hash with, so that one attempt costs one hash, not one of every client.
        """
        name, dot, passphrase = key.partition(b".")
        client = self.clients.get(name.decode("latin-1")) if dot else None
        return (client, passphrase) if client is not None and client.scrypt else None


def parse_keys(content: bytes, default: Limits) -> Ring:
    """Parse a key file.

    Args:
        content: Of the file.
        default: Rate limits of clients whose line names none.

    Raises:
        KeysInvalid: A line is not what it should be, or there is no client at all.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise KeysInvalid(f"line {number}: should be UTF-8; got byte {content[error.start]:#04x}.") from error
    clients: dict[str, Client] = {}
    by_digest: dict[bytes, Client] = {}
    numbers: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        client = _client(number, words, default)
        if client.name in clients:
            earlier = f"{client.name}, which line {numbers[client.name]} has too"
            raise KeysInvalid(f"line {number}: name should be of one line; got {earlier}.")
        for digest in client.sha256:
            if digest in by_digest:
                earlier = f"that of line {numbers[by_digest[digest].name]}"
                raise KeysInvalid(f"line {number}: hash should be of one client; got {earlier}.")
            by_digest[digest] = client
        clients[client.name] = client
        numbers[client.name] = number
        if len(clients) > _MAX_CLIENTS:
            raise KeysInvalid(f"line {number}: clients should be at most {_MAX_CLIENTS:,}; got more.")
    if not clients:
        raise KeysInvalid("the file should have at least one line with a client; got none.")
    return Ring(clients, by_digest)


def new_key() -> str:
    """Return a new key: 32 random bytes as text."""
    return PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).decode().rstrip("=")


def hash_of(key: str) -> str:
    """Return a generated key's hash as the key file has it. It has 256 random bits: a fast hash is enough."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _client(number: int, words: Sequence[str], default: Limits) -> Client:
    name = words[0]
    if not _NAME.fullmatch(name):
        raise _invalid(number, "the first word", "a name of 1 to 40 letters, digits, '-' or '_'", name)
    sha256: list[bytes] = []
    scrypt: list[Scrypt] = []
    options: dict[str, str] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if word.startswith("sha256:"):
            sha256.append(_sha256(number, word))
        elif word.startswith("scrypt:"):
            scrypt.append(_scrypt(number, word))
        elif not equals or key not in _OPTIONS:
            known = ", ".join(f"{option}=" for option in _OPTIONS)
            got = f"{_cut(key)}=" if equals and key.isascii() and key.isalpha() else "something else"
            raise KeysInvalid(f"line {number}: each word should be a hash, or one of {known}; got {got}.")
        elif key in options:
            raise KeysInvalid(f"line {number}: {key}= should be there once; got it twice.")
        else:
            options[key] = value
    if not 1 <= len(sha256) + len(scrypt) <= _MAX_HASHES:
        expected = f"1 to {_MAX_HASHES} hashes, sha256:… or scrypt:…"
        raise KeysInvalid(f"line {number}: a client should have {expected}; got {len(sha256) + len(scrypt)}.")
    if len(set(sha256)) < len(sha256):
        raise KeysInvalid(f"line {number}: hashes should be different; got one twice.")
    if "rights" not in options:
        raise KeysInvalid(f"line {number}: rights= should be there, as rights=predict,read; got none.")
    return Client(
        name,
        frozenset(_rights(number, options["rights"])),
        Limits(
            _rate(number, options, "rate", "burst", default.requests),
            _rate(number, options, "images", "images-burst", default.images),
        ),
        _models(number, options["models"]) if "models" in options else None,
        tuple(sha256),
        tuple(scrypt),
    )


_OPTIONS = ("rights", "rate", "burst", "images", "images-burst", "models")


def _sha256(number: int, word: str) -> bytes:
    match = _SHA256.fullmatch(word)
    if match is None:
        got = f"{len(word) - len('sha256:')} characters"
        raise KeysInvalid(f"line {number}: sha256: should have 64 small hexadecimal digits; got {got}.")
    return bytes.fromhex(match[1])


def _scrypt(number: int, word: str) -> Scrypt:
    match = _SCRYPT.fullmatch(word)
    if match is None or len(match[4]) % 2:
        expected = "N:R:P:SALT:HASH, the salt of 8 to 64 bytes and the hash of 32 in small hexadecimal digits"
        raise KeysInvalid(f"line {number}: scrypt: should have {expected}; got something else.")
    n, r, p = (int(match[group]) for group in (1, 2, 3))
    # Below 2^12 it is not a slow hash; above the last bound, a check costs more than a stranger may cause.
    is_cost = n >= 2**12 and not n & (n - 1) and n < 2 ** (16 * r)  # the last is scrypt's own bound
    if not is_cost or not 1 <= r <= 32 or not 1 <= p <= 4 or 128 * n * r > _MAX_SCRYPT_BYTES:
        bounds = f"R of 1 to 32, P of 1 to 4, and 128*N*R at most {_MAX_SCRYPT_BYTES:,} bytes"
        expected = f"N a power of 2 from 4096 and below 2^(16*R), {bounds}"
        raise KeysInvalid(f"line {number}: scrypt: should have {expected}; got {n}:{r}:{p}.")
    return Scrypt(n, r, p, bytes.fromhex(match[4]), bytes.fromhex(match[5]))


def _rights(number: int, value: str) -> list[Right]:
    try:
        return [Right(word) for word in value.split(",")]
    except ValueError as error:
        raise _invalid(number, "rights=", "some of predict, read, manage, with commas", value) from error


def _models(number: int, value: str) -> frozenset[str]:
    names = value.split(",")
    if not all(_MODEL.fullmatch(name) for name in names):
        raise _invalid(number, "models=", "names of models, with commas", value)
    return frozenset(names)


def _rate(
    number: int, options: Mapping[str, str], name: str, burst_name: str, default: Rate | None
) -> Rate | None:
    """Return the rate of two options; `none` is no limit, and no option is the default."""
    value, burst_value = options.get(name), options.get(burst_name)
    if value in (None, "none"):
        if burst_value is not None:
            raise KeysInvalid(f"line {number}: {burst_name}= should be there with a rate; got it alone.")
        return default if value is None else None
    if burst_value is not None and not _COUNT.fullmatch(burst_value):
        raise _invalid(number, f"{burst_name}=", "a whole number from 1", burst_value)
    try:
        return parse(value, None if burst_value is None else int(burst_value))
    except ValueError as error:
        expected, _, got = str(error).partition("; got ")
        raise _invalid(number, f"{name}=", expected, value, got) from error


def _invalid(number: int, what: str, expected: str, value: str, got: str = "") -> KeysInvalid:
    return KeysInvalid(f"line {number}: {what} should be {expected}; got {got or _cut(value)}.")


def _cut(value: str) -> str:
    """Repeat a short value; not one that could be a key, a hash, or part of one, put in the wrong place."""
    if len(value) > _MAX_SHOWN or value.startswith(PREFIX) or ":" in value:
        return f"{len(value)} characters"
    return repr(value)
