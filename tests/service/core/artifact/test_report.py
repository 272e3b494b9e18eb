"""`service/core/artifact/report.py`: writing reports, and reading valid and invalid ones."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.core.artifact import artifact, report
from service.core.artifact.artifact import Artifact
from service.core.errors import ReportBroken, ReportUnavailable, UnknownPicture
from tests import toys
from tests.service.http.bodies import check_sentence


@pytest.fixture
def published(tmp_path: Path) -> Artifact:
    found = toys.publish(tmp_path)
    toys.write_report(tmp_path, found)
    return found


def _folder(root: Path) -> Path:
    return root / "quadrants" / "1" / "report"


def _change(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = _folder(root) / "report.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_written_reports_are_read_back(tmp_path: Path, published: Artifact) -> None:
    """
    Measurements, and both themes of a picture.
    """
    found = report.read(tmp_path, published.manifest)

    assert found == toys.report_of(published)
    assert report.read_picture(tmp_path, published.manifest, "confusion-test", "light").endswith(b"light")
    assert report.read_picture(tmp_path, published.manifest, "confusion-test", "dark").endswith(b"dark")


def test_writing_again_removes_old_pictures_and_keeps_other_files(
    tmp_path: Path, published: Artifact
) -> None:
    """
    The record of the fit stays; no temporary file is left.
    """
    (_folder(tmp_path) / "old.png").write_bytes(toys.PICTURE)

    toys.write_report(tmp_path, published)

    assert sorted(path.name for path in _folder(tmp_path).iterdir()) == [
        "confusion-test-dark.png",
        "confusion-test.png",
        "history.json",
        "report.json",
    ]


def test_reports_do_not_change_the_artifact(tmp_path: Path, published: Artifact) -> None:
    again = artifact.read(tmp_path, "quadrants", "1")

    assert (again.manifest, again.model) == (published.manifest, published.model)


def test_missing_reports_are_unavailable(tmp_path: Path) -> None:
    """
    The message contains model and version.
    """
    published = toys.publish(tmp_path)

    with pytest.raises(ReportUnavailable) as raised:
        report.read(tmp_path, published.manifest)

    assert str(raised.value) == "Report of 'quadrants' version 1 should have been written; got none."
    assert not isinstance(raised.value, ReportBroken)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda it: it.pop("confusion"), "confusion"),
        (lambda it: it.update(more=1), "more"),
        (lambda it: it["confusion"][0].update(examples=11), "add up"),
        (lambda it: it["confusion"][0]["counts"].pop(), "as many columns"),
        (lambda it: it["labels"].pop(), "a row for each label"),
        (lambda it: it["confusion"][0]["counts"][0].__setitem__(0, -1), "greater than or equal to 0"),
        (lambda it: it["confusion"][0].update(examples=10**400), "examples"),
        (lambda it: it["calibration"][0].update(error=float("nan")), "calibration.0.error"),
        (lambda it: it["pictures"][0].update(name="../../manifest"), "pictures.0.name"),
        (lambda it: it.update(sha256="0" * 64), "this very network"),
        (lambda it: it.update(version="2"), "this very network"),
    ],
)
def test_invalid_reports_are_refused(
    tmp_path: Path, published: Artifact, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    """
    The message is one line with the member and no path.
    """
    _change(tmp_path, change)

    with pytest.raises(ReportBroken, match=said) as raised:
        report.read(tmp_path, published.manifest)

    check_sentence(str(raised.value))


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"labels": ["\\ud800"]}'])
def test_bytes_that_are_no_report_are_refused(tmp_path: Path, published: Artifact, content: bytes) -> None:
    """
    Empty files, other encodings, deep nesting.
    """
    (_folder(tmp_path) / "report.json").write_bytes(content)

    with pytest.raises(ReportBroken) as raised:
        report.read(tmp_path, published.manifest)

    check_sentence(str(raised.value))


def test_other_files_and_large_files_are_refused(
    tmp_path: Path, published: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A folder, a pipe without a writer, and a file above the limit.
    """
    path = _folder(tmp_path) / "report.json"
    whole = path.read_bytes()
    spoilt: list[Callable[[], object]] = [path.mkdir, lambda: os.mkfifo(path)]
    for spoil in spoilt:
        path.unlink()
        spoil()
        with pytest.raises(ReportBroken, match="not a file"):
            report.read(tmp_path, published.manifest)
        if path.is_dir():
            path.rmdir()
            path.touch()
    path.unlink()
    path.write_bytes(whole)
    monkeypatch.setattr(report, "MAX_BYTES", len(whole) - 1)

    with pytest.raises(ReportBroken, match="more than"):
        report.read(tmp_path, published.manifest)


@pytest.mark.parametrize(
    "name", ["confusion", "../report/confusion-test", "confusion-test-dark", "", "x" * 999]
)
def test_pictures_that_are_not_listed_are_unknown(tmp_path: Path, published: Artifact, name: str) -> None:
    """
    Even if the file exists; the message lists the known pictures.
    """
    with pytest.raises(UnknownPicture, match="should be one of confusion-test; got") as raised:
        report.read_picture(tmp_path, published.manifest, name, "light")

    check_sentence(str(raised.value))


def test_missing_or_invalid_pictures_are_broken_reports(tmp_path: Path, published: Artifact) -> None:
    path = _folder(tmp_path) / "confusion-test.png"
    path.write_bytes(b"GIF89a")
    with pytest.raises(ReportBroken, match="not a PNG file"):
        report.read_picture(tmp_path, published.manifest, "confusion-test", "light")
    path.unlink()
    with pytest.raises(ReportBroken, match="picture confusion-test"):
        report.read_picture(tmp_path, published.manifest, "confusion-test", "light")
