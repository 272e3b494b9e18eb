"""`service/http/security/access_control.py`: hosts, keys, rights and rates."""

import asyncio
from pathlib import Path

import pytest

from service.core.errors import Forbidden, MalformedRequest, RateExceeded, Unauthenticated
from service.http.security.access_control import AccessControl, host_of
from service.http.security.cors import CorsPolicy
from service.http.security.hosts import KnownHosts
from service.inference.admission.access import Access
from service.inference.admission.keys import Right, hash_of, new_key
from service.inference.admission.rates import UNLIMITED, RateLimits, parse

HERE = "192.0.2.1"
KEY = new_key()


def control(
    keys: Path | None = None,
    limits: RateLimits = UNLIMITED,
    allowed: tuple[str, ...] = (),
    *,
    is_operator: bool = False,
) -> AccessControl:
    return AccessControl(Access(keys, limits), KnownHosts("127.0.0.1", allowed), CorsPolicy(()), is_operator)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"app {hash_of(KEY)} rights=predict,read models=ink\n")
    return path


@pytest.mark.parametrize("right", [None, *Right])
def test_without_keys_and_rates_every_request_is_allowed(right: Right | None) -> None:
    assert control().authorize(None, HERE, right, "ink") is None


def test_without_keys_rates_apply_per_address() -> None:
    """Not to health checks and management."""
    limited = control(limits=RateLimits(parse("1/min"), None))

    assert limited.authorize(None, HERE, Right.PREDICT, "ink") is not None
    for _ in range(3):
        assert limited.authorize(None, HERE, None, None) is None
        assert limited.authorize(None, HERE, Right.MANAGE, None) is None
    with pytest.raises(RateExceeded):
        limited.authorize(None, HERE, Right.READ, None)
    assert limited.authorize(None, "192.0.2.2", Right.READ, None) is not None


def test_operators_have_no_rate() -> None:
    limited = control(limits=RateLimits(parse("1/min"), None), is_operator=True)

    for _ in range(5):
        grant = limited.authorize(None, HERE, Right.READ, None)
        assert grant is not None
        assert grant.fields() == []


def test_keys_have_rights_and_models(keys: Path) -> None:
    """Health checks need no key."""
    with_keys = control(keys)
    key = KEY.encode()

    assert with_keys.authorize(None, HERE, None, None) is None
    grant = with_keys.authorize(key, HERE, Right.PREDICT, "ink")
    assert grant is not None
    assert grant.client == "app"
    for wrong in (None, b"ink_nobody's"):
        with pytest.raises(Unauthenticated):
            with_keys.authorize(wrong, HERE, Right.READ, None)
    with pytest.raises(Forbidden, match="'manage'"):
        with_keys.authorize(key, HERE, Right.MANAGE, None)
    with pytest.raises(Forbidden, match="ink"):
        with_keys.authorize(key, HERE, Right.PREDICT, "mlp-128")


@pytest.mark.parametrize("is_operator", [False, True])
def test_operators_need_a_key_too(keys: Path, is_operator: bool) -> None:
    with pytest.raises(Unauthenticated):
        control(keys, is_operator=is_operator).authorize(None, HERE, Right.MANAGE, None)


def test_the_key_is_read_from_either_header(keys: Path) -> None:
    """Only if keys are used; two different keys are refused."""
    bearer, plain = (b"authorization", b"Bearer a"), (b"x-api-key", b"a")

    assert control().key([bearer, plain]) is None
    assert control(keys).key([bearer]) == control(keys).key([plain]) == b"a"
    assert control(keys).key([]) is None
    with pytest.raises(MalformedRequest):
        control(keys).key([bearer, (b"x-api-key", b"b")])


def test_hosts_are_checked_if_allowed_host_is_set() -> None:
    control().check_host(b"anything")
    control().check_host(None)
    named = control(allowed=("one.example",))
    named.check_host(b"one.example:80")
    named.check_host(b"127.0.0.1")
    for wrong in (b"other.example", b"", None):
        with pytest.raises(Forbidden):
            named.check_host(wrong)


def test_a_repeated_host_is_refused() -> None:
    assert host_of([(b"a", b"b")]) is None
    assert host_of([(b"host", b"b")]) == b"b"
    with pytest.raises(Forbidden):
        host_of([(b"host", b"b"), (b"host", b"b")])


def test_a_generated_key_is_verified_without_awaiting(keys: Path) -> None:
    with_keys = control(keys)

    assert not with_keys.access.needs_verify(KEY.encode())
    asyncio.run(with_keys.access.verify(KEY.encode(), HERE))
