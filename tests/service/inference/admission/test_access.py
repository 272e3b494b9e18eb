import asyncio
from pathlib import Path

import pytest

from service.core.errors import (
    Forbidden,
    Overloaded,
    PayloadTooLarge,
    RateExceeded,
    ServiceError,
    Unauthenticated,
)
from service.inference.admission.access import Access, network_of
from service.inference.admission.buckets import BucketTable
from service.inference.admission.key_file import KeysInvalid
from service.inference.admission.keys import Right, Scrypt, hash_of, new_key
from service.inference.admission.rates import NS, UNLIMITED, RateLimits, parse
from tests.processes import modules_after
from tests.service.inference.admission.conftest import Clock

HERE = "192.0.2.1"


@pytest.fixture
def keys() -> dict[str, bytes]:
    return {name: new_key().encode() for name in ("app", "ops", "ink-only")}


@pytest.fixture
def access(tmp_path: Path, keys: dict[str, bytes], clock: Clock) -> Access:
    """Three clients: one that predicts, one that manages, and one that may use one model."""
    lines = [
        f"app {hash_of(keys['app'].decode())} rights=predict,read rate=2/s images=10/s",
        f"ops {hash_of(keys['ops'].decode())} rights=manage,read",
        f"ink-only {hash_of(keys['ink-only'].decode())} rights=predict models=ink",
    ]
    path = tmp_path / "keys"
    path.write_text("\n".join(lines))
    return Access(path, UNLIMITED, BucketTable(clock=clock))


def test_without_keys_and_rates_every_client_may_predict_and_read() -> None:
    """`is_open` is true, so `authorize` need not be called."""
    access = Access(None, UNLIMITED)

    for right in (Right.PREDICT, Right.READ):
        grant = access.authorize(b"ignored", HERE, right, "ink")
        grant.check_model("any")
        grant.charge(10**9)
        assert (grant.client, grant.fields()) == ("-", [])

    assert access.is_open
    assert not access.has_keys


def test_without_keys_management_needs_the_operators_listener() -> None:
    """A key in the request makes no difference."""
    access = Access(None, UNLIMITED)

    for key in (None, b"ink_anything"):
        with pytest.raises(Forbidden, match="operators' listener"):
            access.authorize(key, HERE, Right.MANAGE)

    assert access.authorize(None, HERE, Right.MANAGE, is_operator=True).client == "-"


@pytest.mark.parametrize("right", list(Right))
def test_with_keys_a_request_without_one_is_refused(access: Access, right: Right) -> None:
    """Also over the operators' listener; a missing and a wrong key are different errors."""
    for is_operator in (False, True):
        for key in (None, b"ink_wrong", b"x" * 100_000):
            with pytest.raises(Unauthenticated) as caught:
                access.authorize(key, HERE, right, is_operator=is_operator)
            assert caught.value.is_invalid == (key is not None)

    assert access.has_keys
    assert not access.is_open


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("app", {Right.PREDICT, Right.READ}),
        ("ops", {Right.MANAGE, Right.READ}),
        ("ink-only", {Right.PREDICT}),
    ],
)
def test_a_key_has_its_rights_and_no_others(
    access: Access, keys: dict[str, bytes], clock: Clock, name: str, allowed: set[Right]
) -> None:
    """No right includes another; the message names the missing one."""
    for right in Right:
        clock.now += NS
        if right in allowed:
            assert access.authorize(keys[name], HERE, right).client == name
        else:
            with pytest.raises(Forbidden, match=f"should have the right '{right}'"):
                access.authorize(keys[name], HERE, right)


def test_a_key_for_some_models_is_refused_for_others(access: Access, keys: dict[str, bytes]) -> None:
    """At once, or when the model is known; a long name is shortened in the message."""
    grant = access.authorize(keys["ink-only"], HERE, Right.PREDICT)
    grant.check_model("ink")

    with pytest.raises(Forbidden, match="should be one of the API key's: ink; got 'mlp-128'"):
        grant.check_model("mlp-128")
    with pytest.raises(Forbidden) as caught:
        access.authorize(keys["ink-only"], HERE, Right.PREDICT, "x" * 5000)
    assert len(str(caught.value)) < 200


def test_requests_beyond_the_rate_are_refused(access: Access, keys: dict[str, bytes], clock: Clock) -> None:
    """For the key, from any address; with the time to wait."""
    for address in ("192.0.2.1", "192.0.2.2"):
        access.authorize(keys["app"], address, Right.READ)

    with pytest.raises(RateExceeded) as caught:
        access.authorize(keys["app"], "192.0.2.3", Right.READ)

    error = caught.value
    assert (error.limit, error.unit, error.window_s, error.retry_after_s) == (2, "requests", 1, 0.5)
    clock.now += NS // 2
    assert access.authorize(keys["app"], HERE, Right.READ).client == "app"
    assert access.authorize(keys["ops"], HERE, Right.READ).client == "ops"


def test_a_batch_larger_than_the_remaining_images_puts_the_bucket_in_debt(
    access: Access, keys: dict[str, bytes], clock: Clock
) -> None:
    """The next prediction is refused until the debt is gone; reading costs no images."""
    access.authorize(keys["app"], HERE, Right.PREDICT).charge(9)
    access.authorize(keys["app"], HERE, Right.PREDICT).charge(10)
    clock.now += NS // 2

    with pytest.raises(RateExceeded) as caught:
        access.authorize(keys["app"], HERE, Right.PREDICT)

    assert caught.value.unit == "images"
    access.authorize(keys["app"], HERE, Right.READ)
    clock.now += int(caught.value.retry_after_s * NS) + 1
    access.authorize(keys["app"], HERE, Right.PREDICT)


def test_parallel_batches_are_charged_one_by_one(access: Access, keys: dict[str, bytes]) -> None:
    """Not all of them may use the last image."""
    grants = [access.authorize(keys["app"], HERE, Right.PREDICT) for _ in range(2)]
    grants[0].charge(10)

    with pytest.raises(RateExceeded):
        grants[1].charge(1)
    grants[1].charge(0)


def test_a_batch_larger_than_the_burst_is_too_large(access: Access, keys: dict[str, bytes]) -> None:
    """413, not 429: a retry would not help. Nothing is charged."""
    grant = access.authorize(keys["app"], HERE, Right.PREDICT)

    with pytest.raises(PayloadTooLarge, match="at most 10 images; got 11"):
        grant.charge(11)
    grant.charge(10)


def test_a_response_has_the_remaining_tokens(access: Access, keys: dict[str, bytes]) -> None:
    """After the images were charged; no fields for a client without a rate."""
    grant = access.authorize(keys["app"], HERE, Right.PREDICT)
    grant.charge(4)

    assert grant.fields() == [
        ("ratelimit-policy", '"requests";q=2;w=1, "images";q=10;qu="images";w=1'),
        ("ratelimit", '"requests";r=1;t=1, "images";r=6;t=1'),
    ]
    assert access.authorize(keys["ops"], HERE, Right.READ).fields() == []


def test_without_keys_each_address_has_the_rate(clock: Clock) -> None:
    """The operators' listener has none."""
    access = Access(None, RateLimits(parse("1/s")), BucketTable(clock=clock))

    def is_refused(address: str, is_operator: bool = False) -> bool:
        try:
            access.authorize(None, address, Right.READ, is_operator=is_operator)
        except RateExceeded:
            return True
        return False

    first = [is_refused(address) for address in ("192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "-")]
    again = [is_refused(address) for address in ("192.0.2.1", "::ffff:192.0.2.2", "2001:db8:0:1:ffff::", "-")]

    assert first == [False] * 4
    assert again == [True] * 4
    assert not is_refused("2001:db8:0:2::1")
    assert not is_refused("192.0.2.1", is_operator=True)
    assert not access.is_open


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", b"\xc0\x00\x02\x01"),
        ("::ffff:192.0.2.1", b"\xc0\x00\x02\x01"),
        ("2001:db8:1:2:3:4:5:6", b"\x20\x01\x0d\xb8\x00\x01\x00\x02"),
        ("fe80::1%eth0", b"\xfe\x80" + bytes(6)),
        ("-", b"-"),
        ("", b""),
        ("a\0b", b"a\0b"),
        ("\ud800", b"?"),
    ],
)
def test_addresses_share_the_rate_of_their_network(address: str, network: bytes) -> None:
    """IPv6 by /64; other text than an address counts as itself."""
    assert network_of(address) == network


def test_invented_addresses_do_not_fill_the_memory(clock: Clock) -> None:
    """Neither by their number nor by their length."""
    table = BucketTable(64, clock=clock)
    access = Access(None, RateLimits(parse("1/s")), table)

    for number in range(20_000):
        access.authorize(None, f"2001:db8:{number // 65_536:x}:{number % 65_536:x}::1", Right.READ)
    access.authorize(None, "x" * 100_000, Right.READ)

    info = access._identity.cache_info()  # type: ignore[attr-defined]
    assert info.currsize == info.maxsize == 8192
    assert len(table._memory) == 64 * 32


def test_a_reload_changes_rights(access: Access, keys: dict[str, bytes], tmp_path: Path) -> None:
    """For the next request; admitted ones go on."""
    grant = access.authorize(keys["app"], HERE, Right.PREDICT)
    (tmp_path / "keys").write_text(f"ops {hash_of(keys['ops'].decode())} rights=predict\n")

    assert access.reload()

    grant.charge(3)
    assert grant.client == "app"
    with pytest.raises(Unauthenticated):
        access.authorize(keys["app"], HERE, Right.PREDICT)
    assert access.authorize(keys["ops"], HERE, Right.PREDICT).client == "ops"
    (tmp_path / "keys").write_text("broken")
    assert not access.reload()
    assert not access.poll()
    assert access.authorize(keys["ops"], HERE, Right.PREDICT).client == "ops"


def test_without_a_key_file_there_is_nothing_to_reload() -> None:
    access = Access(None, UNLIMITED)

    assert access.reload()
    assert not access.poll()
    assert not access.needs_verify(b"ann.passphrase")
    asyncio.run(access.verify(b"ann.passphrase", HERE))
    access.close()


def test_an_invalid_key_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(KeysInvalid):
        Access(tmp_path / "missing", UNLIMITED)


def test_a_passphrase_must_be_verified_before_it_is_accepted(tmp_path: Path) -> None:
    """With scrypt itself."""
    path = tmp_path / "keys"
    path.write_text(f"ann {Scrypt.of('correct-horse-battery')} rights=read\n")
    access = Access(path, UNLIMITED)
    key = b"ann.correct-horse-battery"

    with pytest.raises(Overloaded):
        access.authorize(key, HERE, Right.READ)
    needed = access.needs_verify(key)
    asyncio.run(access.verify(key, HERE))

    assert needed
    assert access.authorize(key, HERE, Right.READ).client == "ann"
    assert not access.needs_verify(key)
    access.close()


@pytest.mark.parametrize(
    "key", [b"", b".", b"ann.", b".x", b"\x00", b"\xff" * 600, b"ink_" + b"A" * 43, b"ann" + b"." * 400]
)
def test_any_invalid_key_is_unauthenticated(tmp_path: Path, key: bytes) -> None:
    path = tmp_path / "keys"
    path.write_text(f"ann {Scrypt.of('correct-horse-battery')} rights=read\n")
    access = Access(path, UNLIMITED)

    asyncio.run(access.verify(key, HERE))
    with pytest.raises(ServiceError) as caught:
        access.authorize(key, HERE, Right.READ)

    assert isinstance(caught.value, Unauthenticated)
    access.close()


def test_admission_imports_nothing_heavy() -> None:
    """The command line imports it."""
    loaded = modules_after("import service.inference.admission.access")

    assert {"numpy", "pydantic", "starlette", "onnxruntime"}.isdisjoint(loaded)
