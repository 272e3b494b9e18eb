"""CSRF: no page of another origin can load or unload a model."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import toys
from tests.processes import Process, running
from tests.security.asking import ask

UNLOAD = "/v2/repository/models/quadrants/unload"
READY = "/v2/models/quadrants/ready"


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service with management."""
    root: Path = tmp_path_factory.mktemp("models")
    toys.publish(root)
    with running(root, "--management", "--no-access-log") as process:
        yield process


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/json"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
)
def test_cross_origin_request_changes_no_model(managed: Process, headers: dict[str, str], kind: str) -> None:
    """
    As browsers send it; also a simple form, which needs no preflight.
    """
    answer = ask(managed.port, "POST", UNLOAD, {**headers, "Content-Type": kind}, b"{}")

    assert answer.status == 403
    assert b"/problems/forbidden" in answer.content
    assert ask(managed.port, "GET", READY).status == 200


@pytest.mark.browser
def test_browser_page_of_another_origin_changes_no_model(managed: Process) -> None:
    """
    A form, a script that cannot read the answer, one that would: from another port of the same host, from
    another host, and from a name that was rebound to the service's address.
    """
    pages = pytest.importorskip("tests.security.pages")
    address = f"http://127.0.0.1:{managed.port}"
    fetched = """async ([address, mode]) => {
        const options = { method: 'POST', mode, body: '{}' };
        return fetch(address, options).then((answer) => answer.status, () => 'refused');
    }"""
    submitted = """(address) => {
        const form = document.createElement('form');
        Object.assign(form, { method: 'POST', action: address, enctype: 'text/plain' });
        document.body.append(form);
        form.submit();
    }"""
    with pages.foreign_page() as port, pages.chromium() as browser:
        page = browser.new_page()
        for origin in (f"http://127.0.0.1:{port}", f"http://localhost:{port}"):
            page.goto(origin)
            assert page.evaluate(fetched, [address + UNLOAD, "no-cors"]) in (0, "refused")
            assert page.evaluate(fetched, [address + UNLOAD, "cors"]) == "refused"
            with page.expect_navigation() as navigated:
                page.evaluate(submitted, address + UNLOAD)
            assert navigated.value.status == 403
        rebound = f"http://{pages.REBOUND}:{managed.port}"
        page.goto(f"{rebound}/livez")
        assert page.evaluate(fetched, [rebound + UNLOAD, "same-origin"]) == 403

        assert ask(managed.port, "GET", READY).status == 200
        page.goto(f"{address}/livez")
        assert page.evaluate(fetched, [address + "/v2/repository/models/quadrants/load", "cors"]) == 200
