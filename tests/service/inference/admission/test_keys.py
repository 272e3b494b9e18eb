import hashlib
import hmac

import pytest

from service.inference.admission import keys
from service.inference.admission.keys import (
    KeysInvalid,
    Right,
    Scrypt,
    hash_of,
    new_key,
    parse_keys,
)
from service.inference.admission.rates import UNLIMITED, Limits, parse

A = "sha256:" + "a" * 64
B = "sha256:" + "b" * 64
SALTED = f"scrypt:4096:8:1:{'cd' * 16}:{'ef' * 32}"


def test_a_line_is_parsed() -> None:
    """
    Name, hashes, rights, rates and models, in any order after the name; comments and empty lines are skipped.
    """
    text = f"""
# clients of the shop
app   {A} {B}  rights=predict,read  rate=100/s burst=200 images=5000/s models=ink,mlp-128  # main
ops   rights=manage {SALTED}
"""

    ring = parse_keys(text.encode(), UNLIMITED)

    app, ops = ring.clients["app"], ring.clients["ops"]
    assert app.sha256 == (b"\xaa" * 32, b"\xbb" * 32)
    assert app.rights == {Right.PREDICT, Right.READ}
    assert app.limits == Limits(parse("100/s", 200), parse("5000/s"))
    assert app.models == frozenset({"ink", "mlp-128"})
    assert ops.scrypt == (Scrypt(4096, 8, 1, b"\xcd" * 16, b"\xef" * 32),)
    assert (ops.rights, ops.models, ops.limits) == (frozenset({Right.MANAGE}), None, UNLIMITED)


def test_a_client_without_a_rate_has_the_default() -> None:
    """
    And with `none` it has no limit, whatever the default.
    """
    default = Limits(parse("1/s"), parse("2/s"))
    text = f"a {A} rights=read\nb {B} rights=read rate=none images=7/s"

    ring = parse_keys(text.encode(), default)

    assert ring.clients["a"].limits == default
    assert ring.clients["b"].limits == Limits(None, parse("7/s"))


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_editors_of_every_kind_may_write_the_file(ending: str, mark: bytes) -> None:
    """
    With a byte order mark and other ends of lines.
    """
    content = mark + ending.join(["# first", f"a {A} rights=read", ""]).encode()

    assert list(parse_keys(content, UNLIMITED).clients) == ["a"]


BROKEN = [
    (b"", "the file should have at least one line with a client; got none."),
    (b"# nothing\n\n", "the file should have at least one line with a client"),
    (b"a\xff", "line 1: should be UTF-8; got byte 0xff."),
    ("naïve " + A + " rights=read", "line 1: the first word should be a name"),
    ("a rights=read", "line 1: a client should have 1 to 4 hashes, sha256:… or scrypt:…; got 0."),
    (f"a {A}", "line 1: rights= should be there, as rights=predict,read; got none."),
    (f"a {A} rights=", "line 1: rights= should be some of predict, read, manage, with commas; got ''."),
    (
        f"a {A} rights=write",
        "line 1: rights= should be some of predict, read, manage, with commas; got 'write'.",
    ),
    (f"\n\na {A} rights=read rights=read", "line 3: rights= should be there once; got it twice."),
    (f"a {A} rights=read rate=fast", "line 1: rate= should be a number per s, min, h or d"),
    (
        f"a {A} rights=read rate=0/s",
        "line 1: rate= should be above 0 and at most 1,000,000 per second; got 0",
    ),
    (f"a {A} rights=read images=1/s images-burst=x", "line 1: images-burst= should be a whole number from 1"),
    (f"a {A} rights=read burst=5", "line 1: burst= should be there with a rate; got it alone."),
    (f"a {A} rights=read models=ink,,", "line 1: models= should be names of models, with commas"),
    (
        f"a {A} rights=read colour=red",
        "line 1: each word should be a hash, or one of rights=, rate=, burst=,",
    ),
    (
        f"a {A} rights=read\na {B} rights=read",
        "line 2: name should be of one line; got a, which line 1 has too.",
    ),
    (f"a {A} rights=read\nb {A} rights=read", "line 2: hash should be of one client; got that of line 1."),
    (f"a {A} {A} rights=read", "line 1: hashes should be different; got one twice."),
    (
        f"a {A[:-1]} rights=read",
        "line 1: sha256: should have 64 small hexadecimal digits; got 63 characters.",
    ),
    (f"a {A.upper()} rights=read", "line 1: each word should be a hash"),
    (f"a {A[:-1]}A rights=read", "line 1: sha256: should have 64 small hexadecimal digits"),
    ("a scrypt:secret rights=read", "line 1: scrypt: should have N:R:P:SALT:HASH"),
    (
        f"a {SALTED.replace('4096', '2048')} rights=read",
        "line 1: scrypt: should have N a power of 2 from 4096",
    ),
    (f"a {SALTED.replace('4096', '5000')} rights=read", "line 1: scrypt: should have N a power of 2"),
    (f"a {SALTED.replace('4096', '65536')} rights=read", "line 1: scrypt: should have N a power of 2"),
    (f"a {SALTED.replace('4096:8', '65536:1')} rights=read", "line 1: scrypt: should have N a power of 2"),
    (f"a {SALTED.replace(':1:', ':9:')} rights=read", "line 1: scrypt: should have N a power of 2"),
]


@pytest.mark.parametrize(("content", "words"), BROKEN)
def test_an_error_names_the_line_and_what_should_be_there(content: bytes | str, words: str) -> None:
    """
    And what came, in one line.
    """
    with pytest.raises(KeysInvalid) as caught:
        parse_keys(content.encode() if isinstance(content, str) else content, UNLIMITED)

    assert str(caught.value).startswith(words)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "line",
    [
        "KEY sha256:{hash} rights=read",
        "{hash} sha256:{hash} rights=read",
        "a KEY rights=read",
        "a sha256:KEY rights=read",
        "a scrypt:KEY rights=read",
        "a {hash} rights=read",
        "a sha256:{hash}0 rights=read",
        "a sha256:{hash} rights=KEY",
        "a sha256:{hash} rights=read models=,KEY",
        "a sha256:{hash} rights=read rate=KEY",
        "a sha256:{hash} rights=read KEY=1",
        "a sha256:{hash} rights=read rate=1/s burst=KEY",
        "a sha256:{hash} rights=read\nb sha256:{hash} rights=read",
    ],
)
def test_no_error_repeats_a_key_or_a_hash(line: str) -> None:
    """
    Wherever it was put by mistake: errors are logged.
    """
    key = new_key()
    digest = hashlib.sha256(key.encode()).hexdigest()

    with pytest.raises(KeysInvalid) as caught:
        parse_keys(line.replace("KEY", key).replace("{hash}", digest).encode(), UNLIMITED)

    assert key[4:12] not in str(caught.value)
    assert digest[:8] not in str(caught.value)


def test_more_clients_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file cannot fill the memory.
    """
    monkeypatch.setattr(keys, "_MAX_CLIENTS", 2)
    text = "\n".join(f"c{number} sha256:{number:064x} rights=read" for number in range(3))

    with pytest.raises(KeysInvalid, match="line 3: clients should be at most 2; got more"):
        parse_keys(text.encode(), UNLIMITED)


def test_a_new_key_is_found_by_its_hash_alone() -> None:
    """
    It has 256 random bits and a prefix; any other key finds nobody.
    """
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
    """
    Every hash of the client, with the library's function for this, whichever is equal.
    """
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


def test_a_passphrase_matches_its_hash_alone() -> None:
    """
    Each time with another salt; the hash written and parsed again is the same.
    """
    first, second = Scrypt.of("correct-horse-battery"), Scrypt.of("correct-horse-battery")

    ring = parse_keys(f"ann {first} rights=read".encode(), UNLIMITED)

    assert first != second
    assert ring.clients["ann"].scrypt == (first,)
    assert first.matches(b"correct-horse-battery")
    assert not first.matches(b"correct-horse-batterx")


@pytest.mark.parametrize("passphrase", ["", "short", "with some spaces", "naïve-passphrase"])
def test_a_passphrase_that_is_weak_or_cannot_be_sent_is_refused(passphrase: str) -> None:
    """
    Before it is hashed.
    """
    with pytest.raises(ValueError, match="at least 12 printable ASCII characters"):
        Scrypt.of(passphrase)


def test_a_passphrase_needs_the_name_before_it() -> None:
    """
    So that one attempt costs one hash; a passphrase may have dots itself.
    """
    ring = parse_keys(f"ann {SALTED} rights=read\nbob {A} rights=read".encode(), UNLIMITED)

    assert ring.named(b"ann.pass.phrase") == (ring.clients["ann"], b"pass.phrase")
    assert ring.named(b"bob.passphrase") is None
    assert ring.named(b"eve.passphrase") is None
    assert ring.named(b"ann") is None
    assert ring.named(b"\xff.x") is None
