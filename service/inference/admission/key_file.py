"""The key file: its format, and reading it again when it changes.

One line per client: its name, one or more hashes, and options. Comments begin with `#`.

    # name  hashes               options
    app     sha256:9f86d0…       rights=predict,read  rate=100/s  images=5000/s  models=ink,mlp-128
"""

import logging
import os
import re
import stat
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from service.inference.admission.keys import MAX_SCRYPT_BYTES, PREFIX, Client, KeyRing, Right, Scrypt
from service.inference.admission.rates import Rate, RateLimits, parse

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 4 * 2**20

_MAX_CLIENTS = 10_000
_MAX_HASHES = 4
_MAX_SHOWN = 40

_NAME = re.compile(r"(?!ink_)[A-Za-z0-9_-]{1,40}", re.ASCII)  # matches no key and no hash: names are logged
_MODEL = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_SHA256 = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
_SCRYPT = re.compile(
    r"scrypt:([0-9]{1,7}):([0-9]{1,3}):([0-9]{1,2}):([0-9a-f]{16,128}):([0-9a-f]{64})", re.ASCII
)
_COUNT = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)

_FileSignature = tuple[int, int, int, int, int]


class KeysInvalid(ValueError):
    """The key file is not valid. The message names the line, but contains no key and no hash."""


class KeyFile:
    """A key file and the keys that were last read from it. Thread-safe.

    Attributes:
        ring: The keys in force.
    """

    def __init__(self, path: Path, default: RateLimits) -> None:
        """Read the file.

        Args:
            path: Path of the file.
            default: Rate limits of clients whose line has none.

        Raises:
            KeysInvalid: The file cannot be read or is not valid.
        """
        self._path = path
        self._default = default
        self._lock = threading.Lock()
        self._seen: _FileSignature | None = None  # of the version read last, valid or not
        self._candidate: _FileSignature | None = None  # of a newer version that may still be written to
        self.ring = self._read()

    def reload(self) -> bool:
        """Read the file again; if it is not valid, log the reason and keep the old keys.

        Admitted requests are not affected. Blocks while the file is read: call it on a thread.

        Returns:
            Whether the file was valid.
        """
        with self._lock:
            try:
                ring = self._read()
            except KeysInvalid as error:
                log.error("keys refused", extra={"fields": {"reason": str(error)}})
                return False
            self.ring = ring
        log.info("keys loaded", extra={"fields": {"clients": len(ring.clients)}})
        return True

    def poll(self) -> bool:
        """Read the file again if it has changed, and has not changed since the previous call.

        Called about once a second, it does not read a file that is only half written.

        Returns:
            Whether new keys were loaded.
        """
        with self._lock:
            signature = self._signature()
            if signature == self._seen:
                self._candidate = signature
                return False
            if signature != self._candidate:
                self._candidate = signature
                return False
        return self.reload()

    def _signature(self) -> _FileSignature | None:
        try:
            return _signature(self._path.stat())
        except OSError:
            return None

    def _read(self) -> KeyRing:
        try:
            # O_NONBLOCK: opening a pipe without a writer would block.
            descriptor = os.open(self._path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(descriptor, "rb") as file:
                before = os.fstat(descriptor)
                if not stat.S_ISREG(before.st_mode):
                    raise KeysInvalid("the key file should be a regular file; got another kind.")
                content = file.read(MAX_FILE_BYTES + 1)
                after = os.fstat(descriptor)
        except OSError as error:
            self._seen = self._signature()
            raise KeysInvalid(f"the key file should be readable; got {error.strerror}.") from error
        self._seen = _signature(before)
        if len(content) > MAX_FILE_BYTES:
            raise KeysInvalid(f"the key file should have at most {MAX_FILE_BYTES:,} bytes; got more.")
        if _signature(after) != self._seen:
            raise KeysInvalid("the key file should not change while it is read; it did.")
        return parse_keys(content, self._default)


def _signature(status: os.stat_result) -> _FileSignature:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def parse_keys(content: bytes, default: RateLimits) -> KeyRing:
    """Parse the content of a key file.

    Args:
        content: Content of the file.
        default: Rate limits of clients whose line has none.

    Raises:
        KeysInvalid: A line is not valid, or no line has a client.
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
            raise KeysInvalid(f"line {number}: name should be unique; got {earlier}.")
        for digest in client.sha256:
            if digest in by_digest:
                earlier = f"that of line {numbers[by_digest[digest].name]}"
                raise KeysInvalid(f"line {number}: hash should belong to one client; got {earlier}.")
            by_digest[digest] = client
        clients[client.name] = client
        numbers[client.name] = number
        if len(clients) > _MAX_CLIENTS:
            raise KeysInvalid(f"line {number}: clients should be at most {_MAX_CLIENTS:,}; got more.")
    if not clients:
        raise KeysInvalid("the file should have at least one line with a client; got none.")
    return KeyRing(clients, by_digest)


def _client(number: int, words: Sequence[str], default: RateLimits) -> Client:
    """Parse one line, split into words."""
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
            got = f"{_shown(key)}=" if equals and key.isascii() and key.isalpha() else "something else"
            raise KeysInvalid(f"line {number}: each word should be a hash, or one of {known}; got {got}.")
        elif key in options:
            raise KeysInvalid(f"line {number}: {key}= should be given once; got it twice.")
        else:
            options[key] = value
    if not 1 <= len(sha256) + len(scrypt) <= _MAX_HASHES:
        expected = f"1 to {_MAX_HASHES} hashes, sha256:… or scrypt:…"
        raise KeysInvalid(f"line {number}: a client should have {expected}; got {len(sha256) + len(scrypt)}.")
    if len(set(sha256)) < len(sha256):
        raise KeysInvalid(f"line {number}: hashes should differ; got one twice.")
    if "rights" not in options:
        raise KeysInvalid(f"line {number}: rights= should be given, such as rights=predict,read; got none.")
    return Client(
        name,
        frozenset(_rights(number, options["rights"])),
        RateLimits(
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
        raise KeysInvalid(f"line {number}: sha256: should have 64 lower-case hexadecimal digits; got {got}.")
    return bytes.fromhex(match[1])


def _scrypt(number: int, word: str) -> Scrypt:
    match = _SCRYPT.fullmatch(word)
    if match is None or len(match[4]) % 2:
        expected = "N:R:P:SALT:HASH, the salt of 8 to 64 bytes and the hash of 32, in lower-case hexadecimal"
        raise KeysInvalid(f"line {number}: scrypt: should have {expected}; got something else.")
    n, r, p = (int(match[group]) for group in (1, 2, 3))
    # A cost below 2^12 is not slow; above MAX_SCRYPT_BYTES, anyone could make the service spend too much.
    is_cost = n >= 2**12 and not n & (n - 1) and n < 2 ** (16 * r)  # the last bound is scrypt's own
    if not is_cost or not 1 <= r <= 32 or not 1 <= p <= 4 or 128 * n * r > MAX_SCRYPT_BYTES:
        bounds = f"R of 1 to 32, P of 1 to 4, and 128*N*R at most {MAX_SCRYPT_BYTES:,} bytes"
        expected = f"N a power of 2 from 4096 and below 2^(16*R), {bounds}"
        raise KeysInvalid(f"line {number}: scrypt: should have {expected}; got {n}:{r}:{p}.")
    return Scrypt(n, r, p, bytes.fromhex(match[4]), bytes.fromhex(match[5]))


def _rights(number: int, value: str) -> list[Right]:
    try:
        return [Right(word) for word in value.split(",")]
    except ValueError as error:
        raise _invalid(number, "rights=", "predict, read or manage, separated by commas", value) from error


def _models(number: int, value: str) -> frozenset[str]:
    names = value.split(",")
    if not all(_MODEL.fullmatch(name) for name in names):
        raise _invalid(number, "models=", "names of models, separated by commas", value)
    return frozenset(names)


def _rate(
    number: int, options: Mapping[str, str], name: str, burst_name: str, default: Rate | None
) -> Rate | None:
    """Parse a rate and its burst; `none` is no limit, a missing option is the default."""
    value, burst_value = options.get(name), options.get(burst_name)
    if value in (None, "none"):
        if burst_value is not None:
            raise KeysInvalid(f"line {number}: {burst_name}= should be given with a rate; got it alone.")
        return default if value is None else None
    if burst_value is not None and not _COUNT.fullmatch(burst_value):
        raise _invalid(number, f"{burst_name}=", "a whole number from 1", burst_value)
    try:
        return parse(value, None if burst_value is None else int(burst_value))
    except ValueError as error:
        expected, _, got = str(error).partition("; got ")
        raise _invalid(number, f"{name}=", expected, value, got) from error


def _invalid(number: int, what: str, expected: str, value: str, got: str = "") -> KeysInvalid:
    return KeysInvalid(f"line {number}: {what} should be {expected}; got {got or _shown(value)}.")


def _shown(value: str) -> str:
    """Return a value for an error message; only its length if it could be a misplaced key or hash."""
    if len(value) > _MAX_SHOWN or value.startswith(PREFIX) or ":" in value:
        return f"{len(value)} characters"
    return repr(value)
