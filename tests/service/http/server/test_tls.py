"""`service/http/server/tls.py`: reload of a replaced certificate, and invalid pairs."""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from service.http.server import tls
from service.http.server.tls import Certificates
from tests.certificates import Pair, encrypt, make


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair]:
    folder = tmp_path_factory.mktemp("made")
    return make(folder, "one"), make(folder, "two")


@pytest.fixture
def pair(tmp_path: Path, made: tuple[Pair, Pair]) -> Pair:
    """The first of those made, in files of its own."""
    own = Pair(tmp_path / "cert.pem", tmp_path / "key.pem")
    own.replace(made[0])
    return own


@pytest.fixture(autouse=True)
def _always_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "_CHECK_S", 0)


def test_context_is_kept_while_the_files_are_unchanged(pair: Pair) -> None:
    certificates = Certificates(*pair)

    assert certificates.context() is certificates.context()


def test_old_versions_and_renegotiation_are_off(pair: Pair) -> None:
    context = Certificates(*pair).context()

    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_replaced_pair_is_loaded(
    pair: Pair, made: tuple[Pair, Pair], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "service")
    certificates = Certificates(*pair)
    before = certificates.context()

    pair.replace(made[1])

    assert certificates.context() is not before
    assert [record.message for record in caplog.records] == ["TLS certificate reloaded"]


REPLACEMENTS: dict[str, Callable[[Pair, Pair], object]] = {
    "another certificate": lambda pair, other: pair.certificate.write_bytes(other.certificate.read_bytes()),
    "another key": lambda pair, other: pair.key.write_bytes(other.key.read_bytes()),
    "no certificate": lambda pair, _: pair.certificate.write_text("nonsense"),
    "an empty key": lambda pair, _: pair.key.write_text(""),
    "a missing key": lambda pair, _: pair.key.unlink(),
    "an encrypted key": lambda pair, _: pair.key.write_bytes(encrypt(pair).key.read_bytes()),
}


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_invalid_pair_is_not_loaded(
    pair: Pair, made: tuple[Pair, Pair], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The old one is kept, one line is logged, and a valid pair is loaded later."""
    caplog.set_level(logging.INFO, "service")
    certificates = Certificates(*pair)
    before = certificates.context()

    REPLACEMENTS[name](pair, made[1])

    assert certificates.context() is before
    assert certificates.context() is before
    assert [record.message for record in caplog.records] == ["TLS certificate not reloaded"]
    pair.replace(made[1])
    assert certificates.context() is not before


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_invalid_pair_is_an_error_at_startup(pair: Pair, made: tuple[Pair, Pair], name: str) -> None:
    """An encrypted key too: OpenSSL does not ask for a passphrase."""
    REPLACEMENTS[name](pair, made[1])

    with pytest.raises(OSError, match=r"PEM|PASSWORD|mismatch|MISMATCH|No such file|DECRYPT|lib"):
        Certificates(*pair)
