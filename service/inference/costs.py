
SHORT_JSON_BYTES = 4 * 2**20
"""What parsing any JSON document may take, however short it is: 16,384 values cost as much as one image does."""

_MOST_IMAGE_BYTES = 32 * 2**20


def most_parsed_bytes(size: int, numbers: int = 0) -> int:
    """Return how much memory parsing a JSON document as a whole may take, beside its text.

    Args:
        size: Of its text, in bytes.
        numbers: Of one image of the model, if the document may hold one: it may be parsed, up to 32 MiB.
    """
    return max(SHORT_JSON_BYTES, (JSON_FACTOR - 1) * size, min(160 * numbers, _MOST_IMAGE_BYTES))
