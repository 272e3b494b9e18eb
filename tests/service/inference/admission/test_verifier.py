import asyncio
import contextlib
import threading
from pathlib import Path

import pytest

from service.core.errors import Overloaded, RateExceeded, ServiceError, Stopping, Unauthenticated
from service.inference.admission import verifier as verifier_module
from service.inference.admission.buckets import BucketTable
from service.inference.admission.key_file import KeyFile
from service.inference.admission.keys import Scrypt, hash_of, new_key
from service.inference.admission.rates import UNLIMITED
from service.inference.admission.verifier import CHECKS_PER_ADDRESS, Verifier

PASSPHRASE = "correct-horse-battery"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace scrypt by the identity, and record the passphrases that are hashed."""
    computed.clear()

    def compute(_: Scrypt, passphrase: bytes) -> bytes:
        computed.append(passphrase)
        return passphrase

    monkeypatch.setattr(Scrypt, "compute", compute)


computed: list[bytes] = []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def write(path: Path, *clients: tuple[str, str]) -> None:
    """Write a key file with names and keys, and rename it into place."""
    new = path.with_suffix(".new")
    new.write_text("".join(f"{name} {hash_of(key)} rights=read\n" for name, key in clients))
    new.replace(path)


def test_no_request_is_lost_while_keys_are_reloaded(path: Path) -> None:
    """A client in every version of the file is always known, one in none never."""
    stays, other = new_key(), new_key()
    write(path, ("stays", stays), ("x", "0"))
    file = KeyFile(path, UNLIMITED)
    verifier = Verifier(file, BucketTable())
    stop = threading.Event()
    failures: list[object] = []

    def ask() -> None:
        while not stop.is_set():
            try:
                assert verifier.find(stays.encode()).name == "stays"
            except Exception as error:  # whatever it is, the test has failed
                failures.append(error)
            with contextlib.suppress(Unauthenticated):
                failures.append(verifier.find(other.encode()))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(60):
        write(path, ("stays", stays), (f"x{number}", str(number)))
        if number % 3 == 0:
            path.write_text("broken")
        reload = file.reload if number % 2 else file.poll
        reload()
    stop.set()
    for thread in threads:
        thread.join()

    assert failures == []


def salted(path: Path, *passphrases: str) -> Verifier:
    """Write a client with passphrases, and return a verifier."""
    hashes = " ".join(str(Scrypt(4096, 8, 1, b"salt" * 4, p.encode().ljust(32, b"."))) for p in passphrases)
    path.write_text(f"ann {hashes} rights=read\n")
    return Verifier(KeyFile(path, UNLIMITED), BucketTable())


def test_a_passphrase_is_hashed_once(path: Path) -> None:
    """Concurrent requests share one hash; until then `find` raises Overloaded."""
    verifier = salted(path, PASSPHRASE)
    key = b"ann." + PASSPHRASE.encode().ljust(32, b".")

    async def ask() -> None:
        await asyncio.gather(*(verifier.check(key, b"1" * 16) for _ in range(20)))
        await verifier.check(key, b"1" * 16)

    with pytest.raises(Overloaded):
        verifier.find(key)
    assert verifier.needs_check(key)
    asyncio.run(ask())

    assert not verifier.needs_check(key)
    assert verifier.find(key).name == "ann"
    assert len(computed) == 1


def test_a_wrong_passphrase_is_hashed_once_too(path: Path) -> None:
    """For each of the client's hashes; then it is known to be wrong."""
    verifier = salted(path, PASSPHRASE, "another-passphrase")

    asyncio.run(verifier.check(b"ann.wrong", b"1" * 16))

    assert len(computed) == 2
    assert not verifier.needs_check(b"ann.wrong")
    with pytest.raises(Unauthenticated) as caught:
        verifier.find(b"ann.wrong")
    assert caught.value.is_invalid


@pytest.mark.parametrize("key", [None, b"", b"wrong", b"eve.wrong", b"x" * 10_000, b"ann." + b"x" * 10_000])
def test_a_key_without_a_known_name_costs_no_hash(path: Path, key: bytes | None) -> None:
    verifier = salted(path, PASSPHRASE)

    assert not verifier.needs_check(key)
    asyncio.run(verifier.check(key, b"1" * 16))

    with pytest.raises(Unauthenticated) as caught:
        verifier.find(key)
    assert caught.value.is_invalid == (key is not None)
    assert computed == []


def refused(verifier: Verifier, attempts: list[tuple[bytes, bytes]]) -> list[type[ServiceError] | None]:
    """Check keys one after the other; return the error of each."""

    async def ask() -> list[type[ServiceError] | None]:
        found: list[type[ServiceError] | None] = []
        for key, identity in attempts:
            try:
                await verifier.check(key, identity)
                found.append(None)
            except ServiceError as error:
                found.append(type(error))
        return found

    return asyncio.run(ask())


def test_wrong_passphrases_from_one_address_are_limited(path: Path) -> None:
    """Then a 429, for this address only."""
    verifier = salted(path, PASSPHRASE)
    verifier._clock = iter(range(0, 10**14, 10**10)).__next__  # no limit of all together
    attempts = [(b"ann.%d" % number, b"1" * 16) for number in range(CHECKS_PER_ADDRESS.burst + 5)]

    found = refused(verifier, [*attempts, (b"ann.other", b"2" * 16)])

    assert found[: CHECKS_PER_ADDRESS.burst] == [None] * CHECKS_PER_ADDRESS.burst
    assert found[-2:] == [RateExceeded, None]


def test_wrong_passphrases_from_many_addresses_are_limited(path: Path) -> None:
    """Hashing takes a quarter of a core at most; then a 503."""
    verifier = salted(path, PASSPHRASE)
    verifier._clock = lambda: 10**15

    found = refused(verifier, [(b"ann.%d" % number, b"%016d" % number) for number in range(30)])

    assert found.count(None) == len(computed) == 10
    assert set(found[10:]) == {Overloaded}


def test_the_cache_of_results_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier_module, "_MAX_CACHED", 4)
    verifier = salted(path, PASSPHRASE)
    verifier._clock = iter(range(0, 10**14, 10**10)).__next__

    refused(verifier, [(b"ann.%d" % number, b"%016d" % number) for number in range(20)])

    assert len(verifier._results[False]) == 4
    assert verifier._running == {}


def test_a_changed_hash_is_not_answered_from_the_cache(path: Path) -> None:
    """An unchanged one need not be hashed again."""
    verifier = salted(path, PASSPHRASE)
    key = b"ann." + PASSPHRASE.encode().ljust(32, b".")
    asyncio.run(verifier.check(key, b"1" * 16))
    line = path.read_text()
    path.write_text(f"# again\n{line}")
    verifier._keys.reload()
    stayed = verifier.find(key).name

    path.write_text(line.replace(PASSPHRASE.encode().hex(), b"other-horse-battery..".hex()))
    verifier._keys.reload()

    assert stayed == "ann"
    assert verifier.needs_check(key)


def test_a_cancelled_request_does_not_cancel_a_shared_check(path: Path) -> None:
    verifier = salted(path, PASSPHRASE)
    key = b"ann." + PASSPHRASE.encode().ljust(32, b".")

    async def ask() -> None:
        waiting = [asyncio.ensure_future(verifier.check(key, b"1" * 16)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(ask())

    assert verifier.find(key).name == "ann"


def test_a_closed_verifier_raises_stopping(path: Path) -> None:
    verifier = salted(path, PASSPHRASE)
    verifier.close()

    with pytest.raises(Stopping):
        asyncio.run(verifier.check(b"ann.wrong", b"1" * 16))


def test_a_failed_computation_is_not_cached(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory: 503."""
    verifier = salted(path, PASSPHRASE)

    def fail(_: Scrypt, __: bytes) -> bytes:
        raise MemoryError

    monkeypatch.setattr(Scrypt, "compute", fail)

    asyncio.run(verifier.check(b"ann.wrong", b"1" * 16))

    with pytest.raises(Overloaded):
        verifier.find(b"ann.wrong")
