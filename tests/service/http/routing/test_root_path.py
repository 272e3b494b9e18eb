"""`service/http/routing/root_path.py`: paths of requests through proxies."""

import pytest

from service.http.routing.root_path import strip_root_path


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("/inkling/v1/models", "/inkling", "/v1/models"),
        ("/inkling/", "/inkling", "/"),
        ("/a/b/docs", "/a/b", "/docs"),
        ("/v1/models", "/inkling", "/v1/models"),
        ("/", "/inkling", "/"),
        ("/inkling", "/inkling", "/inkling"),
        ("/inklings/v1", "/inkling", "/inklings/v1"),
        ("/Inkling/v1", "/inkling", "/Inkling/v1"),
        ("/v1/inkling/x", "/inkling", "/v1/inkling/x"),
        ("/inkling//v1", "/inkling", "//v1"),
        ("/inkling/inkling/v1", "/inkling", "/inkling/v1"),
        ("/v1/models", "", "/v1/models"),
        ("", "/inkling", ""),
        ("*", "/inkling", "*"),
    ],
)
def test_the_root_path_is_removed(path: str, root: str, expected: str) -> None:
    """Whole segments, once; other paths are unchanged."""
    assert strip_root_path(path, root) == expected
