import hashlib
import json
import logging
import os
from pathlib import Path

import pytest

from service.inference.admission import key_file
from service.inference.admission.key_file import KeyFile, KeysInvalid, parse_keys
from service.inference.admission.keys import Right, Scrypt, hash_of, new_key
from service.inference.admission.rates import UNLIMITED, RateLimits, parse

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
    assert app.limits == RateLimits(parse("100/s", 200), parse("5000/s"))
    assert app.models == frozenset({"ink", "mlp-128"})
    assert ops.scrypt == (Scrypt(4096, 8, 1, b"\xcd" * 16, b"\xef" * 32),)
    assert (ops.rights, ops.models, ops.limits) == (frozenset({Right.MANAGE}), None, UNLIMITED)


def test_a_client_without_a_rate_has_the_default() -> None:
    """With `none` it has no limit."""
    default = RateLimits(parse("1/s"), parse("2/s"))
    text = f"a {A} rights=read\nb {B} rights=read rate=none images=7/s"

    ring = parse_keys(text.encode(), default)

    assert ring.clients["a"].limits == default
    assert ring.clients["b"].limits == RateLimits(None, parse("7/s"))


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_byte_order_marks_and_windows_line_ends_are_accepted(ending: str, mark: bytes) -> None:
    content = mark + ending.join(["# first", f"a {A} rights=read", ""]).encode()

    assert list(parse_keys(content, UNLIMITED).clients) == ["a"]


BROKEN = [
    (b"", "the file should have at least one line with a client; got none."),
    (b"# nothing\n\n", "the file should have at least one line with a client"),
    (b"a\xff", "line 1: should be UTF-8; got byte 0xff."),
    ("naïve " + A + " rights=read", "line 1: the first word should be a name"),
    ("a rights=read", "line 1: a client should have 1 to 4 hashes, sha256:… or scrypt:…; got 0."),
    (f"a {A}", "line 1: rights= should be given, such as rights=predict,read; got none."),
    (f"a {A} rights=", "line 1: rights= should be predict, read or manage, separated by commas; got ''."),
    (
        f"a {A} rights=write",
        "line 1: rights= should be predict, read or manage, separated by commas; got 'write'.",
    ),
    (f"\n\na {A} rights=read rights=read", "line 3: rights= should be given once; got it twice."),
    (f"a {A} rights=read rate=fast", "line 1: rate= should be a number per s, min, h or d"),
    (
        f"a {A} rights=read rate=0/s",
        "line 1: rate= should be above 0 and at most 1,000,000 per second; got 0",
    ),
    (f"a {A} rights=read images=1/s images-burst=x", "line 1: images-burst= should be a whole number from 1"),
    (f"a {A} rights=read burst=5", "line 1: burst= should be given with a rate; got it alone."),
    (f"a {A} rights=read models=ink,,", "line 1: models= should be names of models, separated by commas"),
    (
        f"a {A} rights=read colour=red",
        "line 1: each word should be a hash, or one of rights=, rate=, burst=,",
    ),
    (
        f"a {A} rights=read\na {B} rights=read",
        "line 2: name should be unique; got a, which line 1 has too.",
    ),
    (
        f"a {A} rights=read\nb {A} rights=read",
        "line 2: hash should belong to one client; got that of line 1.",
    ),
    (f"a {A} {A} rights=read", "line 1: hashes should differ; got one twice."),
    (
        f"a {A[:-1]} rights=read",
        "line 1: sha256: should have 64 lower-case hexadecimal digits; got 63 characters.",
    ),
    (f"a {A.upper()} rights=read", "line 1: each word should be a hash"),
    (f"a {A[:-1]}A rights=read", "line 1: sha256: should have 64 lower-case hexadecimal digits"),
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
def test_an_error_names_the_line_and_the_expected_value(content: bytes | str, words: str) -> None:
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
def test_errors_contain_no_key_and_no_hash(line: str) -> None:
    """Errors are logged."""
    key = new_key()
    digest = hashlib.sha256(key.encode()).hexdigest()

    with pytest.raises(KeysInvalid) as caught:
        parse_keys(line.replace("KEY", key).replace("{hash}", digest).encode(), UNLIMITED)

    assert key[4:12] not in str(caught.value)
    assert digest[:8] not in str(caught.value)


def test_more_clients_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_file, "_MAX_CLIENTS", 2)
    text = "\n".join(f"c{number} sha256:{number:064x} rights=read" for number in range(3))

    with pytest.raises(KeysInvalid, match="line 3: clients should be at most 2; got more"):
        parse_keys(text.encode(), UNLIMITED)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def write(path: Path, *clients: tuple[str, str]) -> None:
    """Write a key file with names and keys, and rename it into place."""
    new = path.with_suffix(".new")
    new.write_text("".join(f"{name} {hash_of(key)} rights=read\n" for name, key in clients))
    new.replace(path)


def names(file: KeyFile) -> set[str]:
    return set(file.ring.clients)


def polled(file: KeyFile) -> bool:
    """Poll twice: a change is read once it has been the same for two polls."""
    return any([file.poll(), file.poll()])


def test_a_change_is_read_once_it_is_stable(path: Path) -> None:
    """At the first poll, the file may still be written."""
    write(path, ("a", "1"))
    file = KeyFile(path, UNLIMITED)
    idle = [file.poll(), file.poll()]
    write(path, ("b", "2"))

    found = [file.poll(), file.poll(), file.poll()]

    assert idle == [False, False]
    assert found == [False, True, False]
    assert names(file) == {"b"}


def test_a_file_that_keeps_changing_is_not_read_yet(path: Path) -> None:
    write(path, ("a", "1"))
    file = KeyFile(path, UNLIMITED)

    for length in range(1, 4):
        with path.open("w") as half:
            half.write(f"b {hash_of('2')} rights=read\n" * 1 + "#" * length)
        assert not file.poll()

    assert names(file) == {"a"}


def test_a_broken_file_keeps_the_old_keys(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One error line names the line, and no more until the file changes again."""
    key = new_key()
    write(path, ("a", key))
    file = KeyFile(path, UNLIMITED)
    path.write_text("a broken\n")

    with caplog.at_level(logging.INFO, logger="service.inference.admission.key_file"):
        found = [polled(file) for _ in range(5)]

    assert not any(found)
    assert file.ring.find(key.encode()) is not None
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "keys refused")
    assert "line 1: " in json.dumps(vars(record)["fields"])

    write(path, ("b", "2"))
    assert polled(file)
    assert names(file) == {"b"}


def test_a_deleted_file_keeps_the_old_keys_until_it_is_back(path: Path) -> None:
    write(path, ("a", "1"))
    file = KeyFile(path, UNLIMITED)
    path.unlink()
    gone = polled(file), file.reload()
    still = names(file)
    write(path, ("b", "2"))

    assert gone == (False, False)
    assert still == {"a"}
    assert polled(file)
    assert names(file) == {"b"}


def test_a_reload_reads_the_file_at_once(path: Path) -> None:
    """Without a poll."""
    write(path, ("a", "1"))
    file = KeyFile(path, UNLIMITED)
    write(path, ("b", "2"))

    assert file.reload()
    assert names(file) == {"b"}
    assert not polled(file)


def test_a_replaced_symbolic_link_is_a_change(path: Path, tmp_path: Path) -> None:
    """As orchestrators mount secrets."""
    write(tmp_path / "one", ("a", "1"))
    write(tmp_path / "two", ("b", "2"))
    path.symlink_to(tmp_path / "one")
    file = KeyFile(path, UNLIMITED)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "two")
    link.replace(path)

    assert polled(file)
    assert names(file) == {"b"}


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "large", "empty"])
def test_an_unreadable_file_is_refused(path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without blocking, and without its path in the message."""
    monkeypatch.setattr(key_file, "MAX_FILE_BYTES", 100)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "missing":
        path.write_bytes(b"#" * 101 if kind == "large" else b"")

    with pytest.raises(KeysInvalid) as caught:
        KeyFile(path, UNLIMITED)

    assert str(path) not in str(caught.value)
    assert " should " in str(caught.value)
