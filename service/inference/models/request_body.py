"""Decodes the body of a request for a model: images or drawings, or rows of numbers."""

from service.codecs import content_types, rows
from service.codecs.drawings import DrawingsOrRows, Limits
from service.codecs.json import documents
from service.inference.models.model import Model


def decode(
    content_type: bytes, body: bytes, model: Model, limits: Limits, is_blank_allowed: bool = False
) -> DrawingsOrRows:
    """Decode a request body; as `content_types.decode`, for a model of rows as `decode_rows`."""
    if model.takes_rows:
        return content_types.decode_rows(content_type, body, model.shape, limits)
    return content_types.decode(content_type, body, model.shape, limits, is_blank_allowed)


def decode_instances(body: bytes, model: Model, limits: Limits) -> DrawingsOrRows:
    """Decode `instances` of KServe's V1 protocol; as `read_instances` of `documents` or `rows`."""
    limits = limits.of(model.shape)
    read = rows.read_instances if model.takes_rows else documents.read_instances
    return read(body, model.shape, limits)
