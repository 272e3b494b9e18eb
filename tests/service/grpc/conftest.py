"""A gRPC service with the toy models."""

from collections.abc import Iterator

import pytest

from service.settings import Settings
from tests.service.grpc.calls import Client, serving


@pytest.fixture(scope="module")
def grpc_client(toy_settings: Settings) -> Iterator[Client]:
    """A client of a service with the toy models, for one module."""
    with serving(toy_settings) as client:
        yield client
