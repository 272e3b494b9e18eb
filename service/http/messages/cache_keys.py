"""Keys of the response cache, and what it knows about each body."""

import hashlib
from typing import NamedTuple

from service.core.artifact.manifest import MODEL_FILE
from service.inference.models.model import Model


class Version(NamedTuple):
    """Identity of a model version in cache keys.

    Attributes:
        model: Name of the model.
        version: Number of the version.
        sha256: Digest of its `model.onnx`.
    """

    model: str
    version: str
    sha256: str


def version_of(model: Model) -> Version:
    """Return the version of a loaded model."""
    return Version(model.name, model.version, model.manifest.sha256[MODEL_FILE])


class Key(NamedTuple):
    """Key of a rendered body. Equal keys must give equal bodies.

    Attributes:
        kind: Kind of body.
        version: Version of the model that it belongs to; None for none.
        details: Everything else that the body depends on.
    """

    kind: str
    version: Version | None = None
    details: tuple[str | int, ...] = ()


class BodyInfo(NamedTuple):
    """ETag and length of a rendered body.

    Attributes:
        etag: Strong entity tag, in quotes: a digest of the body.
        length: Length in bytes.
    """

    etag: str
    length: int

    @classmethod
    def of(cls, body: bytes) -> "BodyInfo":
        """Return the ETag and length of a body."""
        return cls(f'"{hashlib.sha256(body).hexdigest()[:32]}"', len(body))
