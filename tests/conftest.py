"""The toy models, the in-process client and the real models."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests import examples, toys

REPOSITORY = Path(__file__).parents[1]

examples.register()


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with `quadrants`, versions 1 and 2: the second sees every quarter's opposite."""
    root = tmp_path_factory.mktemp("models")
    for weights in (toys.quadrant_weights(), toys.quadrant_weights()[::-1].copy()):
        toys.write_report(root, toys.publish(root, weights=weights))
    return root


@pytest.fixture(scope="session")
def toy_settings(toy_root: Path) -> Settings:
    """Settings that serve the toys, with limits low enough to be reached."""
    return Settings(
        models=toy_root,
        max_body_bytes=200_000,
        max_images=64,
        max_picture_pixels=250_000,
        max_points=500,
        _env_file=None,
    )


@pytest.fixture(scope="session")
def client(toy_settings: Settings) -> Iterator[TestClient]:
    """An in-process client of a service with the toys; what nobody foresaw is answered, not raised."""
    with TestClient(create_app(toy_settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def published() -> Path:
    """The repository's own models folder."""
    return REPOSITORY / "models"


@pytest.fixture(scope="module")
def real_client(published: Path) -> Iterator[TestClient]:
    """A client of a service with the repository's own models."""
    with TestClient(create_app(Settings(models=published, _env_file=None))) as client:
        yield client


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("service").setLevel(logging.CRITICAL)
