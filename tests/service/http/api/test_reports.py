"""`service/http/api/reports.py`: reports and charts over HTTP."""

import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.core.artifact import report
from service.core.artifact.files import read_file
from service.http.api import schemas
from service.settings import Settings
from tests import toys
from tests.service.http.bodies import PREDICT, QUADRANTS, images, problem
from tests.service.http.running import service

REPORT = f"{QUADRANTS}/report"


@pytest.fixture
def root(tmp_path: Path, toy_root: Path) -> Path:
    """A copy of the toys that a test may spoil."""
    return Path(shutil.copytree(toy_root, tmp_path / "models"))


def test_the_report_has_every_member_of_the_schema(client: TestClient) -> None:
    """For the version in the path, or the newest."""
    for path, version in ((REPORT, "2"), (f"{QUADRANTS}/versions/1/report", "1")):
        response = client.get(path)

        document = response.json()
        assert response.headers["content-type"] == "application/json"
        assert set(document) == set(schemas.ModelReport.model_fields)
        assert (document["model"], document["version"]) == ("quadrants", version)
        assert document["confusion"][0]["counts"][0] == [3, 1, 0, 0]
        assert document["confusion"][0]["confused"][0]["count"] == 1
        assert document["history"][0]["train_accuracy"] == [0.9]


def test_paths_of_charts_can_be_requested(client: TestClient) -> None:
    """Light and dark, of the version of the report."""
    (picture,) = client.get(f"{QUADRANTS}/versions/1/report").json()["pictures"]

    for theme in ("light", "dark"):
        response = client.get(picture[theme])
        assert "/versions/1/" in picture[theme]
        assert response.headers["content-type"] == "image/png"
        assert response.content == toys.PICTURE + theme.encode()


def test_a_chart_is_light_by_default(client: TestClient) -> None:
    path = f"{REPORT}/confusion-test.png"

    assert client.get(path).content.endswith(b"light")
    assert problem(client.get(f"{path}?theme=sepia"), 400, "malformed-request") == (
        "Query 'theme' should be 'light' or 'dark'; got 'sepia'."
    )


@pytest.mark.parametrize("path", [REPORT, f"{REPORT}/confusion-test.png"])
def test_a_matching_etag_gets_304(client: TestClient, path: str) -> None:
    """Caches must revalidate."""
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    other = client.get(path, headers={"If-None-Match": '"other"'})

    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert other.content == first.content


@pytest.mark.parametrize(
    "name", ["report", "confusion", "..%2f..%2fmanifest", "%2e%2e/%2e%2e/model", "confusion-test-dark", "%00"]
)
def test_an_unknown_chart_is_refused_with_the_known_names(client: TestClient, name: str) -> None:
    """No name reaches another file."""
    response = client.get(f"{REPORT}/{name}.png")

    kind = "not-found" if "/" in name or "%2f" in name else "unknown-picture"
    detail = problem(response, 404, kind)
    if kind == "unknown-picture":
        assert "should be one of confusion-test; got" in detail


def test_a_model_without_a_report_is_served(root: Path) -> None:
    """Both operations respond with 404."""
    shutil.rmtree(root / "quadrants" / "2" / "report")

    with service(Settings(models=root, _env_file=None)) as client:
        for path in (REPORT, f"{REPORT}/confusion-test.png"):
            detail = problem(client.get(path), 404, "no-report")
            assert detail == "Report of 'quadrants' version 2 should have been written; got none."
        assert client.get("/readyz").status_code == 200
        assert client.post(PREDICT, json={"image": images(1)[0].tolist()}).status_code == 200


def test_a_broken_report_does_not_break_the_model(root: Path) -> None:
    (root / "quadrants" / "2" / "report" / "report.json").write_bytes(b'{"labels": [')

    with service(Settings(models=root, strict=True, _env_file=None)) as client:
        for path in (REPORT, f"{REPORT}/confusion-test.png"):
            problem(client.get(path), 404, "no-report")
        assert client.get(f"{QUADRANTS}/versions/1/report").status_code == 200
        assert client.post(PREDICT, json={"image": images(1)[0].tolist()}).status_code == 200


def test_a_new_report_is_served_without_a_restart(root: Path) -> None:
    """With another ETag."""
    with service(Settings(models=root, _env_file=None)) as client:
        path = f"{REPORT}/confusion-test.png"
        before = client.get(path)
        (root / "quadrants" / "2" / "report" / "confusion-test.png").write_bytes(toys.PICTURE + b"new")

        after = client.get(path, headers={"If-None-Match": before.headers["etag"]})

    assert after.content == toys.PICTURE + b"new"


@pytest.mark.parametrize("path", [REPORT, f"{REPORT}/confusion-test.png"])
def test_unchanged_files_are_not_read_again(root: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    times = []

    def read(file: Path, most: int) -> bytes:
        times.append(file.name)
        return read_file(file, most)

    with service(Settings(models=root, _env_file=None)) as client:
        first = client.get(path)
        monkeypatch.setattr(report, "read_file", read)
        again = client.get(path)
        known = client.get(path, headers={"If-None-Match": first.headers["etag"]})
        head = client.head(path)
        unknown = client.get(f"{REPORT}/nothing.png")
        before = list(times)
        (root / "quadrants" / "2" / "report" / "report.json").touch()
        touched = client.get(path)

    assert (again.content, known.status_code, head.status_code) == (first.content, 304, 200)
    assert head.headers["content-length"] == str(len(first.content))
    assert unknown.status_code == 404
    assert set(before) <= ({"report.json"} if path == REPORT else set())  # `unknown` reads the list of names
    assert len(before) <= 1
    assert "report.json" in times[len(before) :]
    assert touched.headers["etag"] == first.headers["etag"]  # the same content


def test_a_removed_report_is_not_served_from_the_cache(root: Path) -> None:
    with service(Settings(models=root, _env_file=None)) as client:
        assert client.get(REPORT).status_code == 200
        assert client.get(f"{REPORT}/confusion-test.png").status_code == 200
        (root / "quadrants" / "2" / "report" / "confusion-test.png").unlink()
        problem(client.get(f"{REPORT}/confusion-test.png"), 404, "no-report")
        shutil.rmtree(root / "quadrants" / "2" / "report")
        problem(client.get(REPORT), 404, "no-report")
