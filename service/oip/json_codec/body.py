"""Request bodies of the binary data extension: JSON of a length given in a header, then binary contents."""

from typing import NamedTuple

from service.core.errors import MalformedRequest, TensorMismatch
from service.core.wording import quote

HEADER = "Inference-Header-Content-Length"
"""The header with the length of the JSON in bytes; without it the whole body is JSON."""


class Body(NamedTuple):
    """A request body, divided into JSON and binary contents.

    Attributes:
        content: The whole body.
        json_bytes: Length of the JSON; 0 if the body is the binary contents of one input and nothing else.
    """

    content: bytes
    json_bytes: int

    @classmethod
    def of(cls, content: bytes, header: str | None) -> "Body":
        """Split a request body into its JSON document and its binary tensors.

        Args:
            content: The whole body.
            header: Value of `HEADER`; None if it is absent.

        Raises:
            MalformedRequest: The header is no number, or larger than the body.
        """
        if header is None:
            return cls(content, len(content))
        if not (header.isascii() and header.isdecimal() and int(header[:20]) <= len(content)):
            raise MalformedRequest(f"Header '{HEADER}'", f"a number 0..{len(content)}", quote(header))
        return cls(content, int(header))

    def text(self) -> bytes:
        """Return the JSON."""
        return self.content[: self.json_bytes]

    def binary(self) -> memoryview:
        """Return the binary contents."""
        return memoryview(self.content)[self.json_bytes :]


class BinaryContents:
    """The binary contents of a body, assigned to the inputs one after the other."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._taken = 0

    def take(self, size: int, field: str) -> memoryview:
        """Return the contents of the next input.

        Args:
            size: Size in bytes.
            field: Name of the input in an error message.

        Raises:
            TensorMismatch: Fewer bytes are left.
        """
        left = self._content.nbytes - self._taken
        if size > left:
            raise TensorMismatch(f"Binary data of {field}", f"{size:,} bytes", f"{left:,}")
        self._taken += size
        return self._content[self._taken - size : self._taken]

    def end(self) -> None:
        """Raise TensorMismatch if bytes are left."""
        if self._taken != self._content.nbytes:
            expected = f"{self._taken:,} bytes, the sum of the inputs' binary_data_size"
            raise TensorMismatch("Binary data", expected, f"{self._content.nbytes:,}")


class ContentSizes(BinaryContents):
    """Records the sizes of the contents of the inputs, of a text that is parsed without them."""

    def __init__(self) -> None:
        super().__init__(memoryview(b""))
        self.sizes: list[int] = []

    def take(self, size: int, field: str) -> memoryview:
        """Record a size; the contents are empty."""
        del field
        self.sizes.append(size)
        return memoryview(b"")
