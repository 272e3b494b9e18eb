"""Inference requests for tests, and the decoding of responses."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from httpx2 import Response
from numpy.typing import NDArray
from starlette.testclient import TestClient

from service.oip.json_codec.body import HEADER
from tests import toys

INFER = "/v2/models/quadrants/infer"
DOT = toys.dot(0)[None]
"""(1, 28, 28) uint8: one white pixel, upper left."""

LOGITS = np.array([[0, 0, 0, 1]], np.float32)
"""Logits of the newest version of `quadrants` for `DOT`: it exchanges opposite quarters."""


def tensor(images: NDArray[Any] = DOT, datatype: str = "UINT8", **members: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return an input in JSON; a member that is None is left out."""
    whole = {"name": "image", "shape": list(images.shape), "datatype": datatype, "data": images.tolist()}
    return {name: value for name, value in {**whole, **members}.items() if value is not None}


def declared(size: int, **members: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return an input whose contents are binary, after the JSON."""
    return tensor(**{"data": None, "parameters": {"binary_data_size": size}, **members})


def document(*inputs: dict[str, Any], **members: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return an inference request."""
    return {"inputs": list(inputs) or [tensor()], **members}


def post(
    client: TestClient,
    text: dict[str, Any] | bytes,
    binary: bytes | None = None,
    header: str | None = None,
    path: str = INFER,
) -> Response:
    """Send an inference request; binary contents set the header with the length of the JSON."""
    content = text if isinstance(text, bytes) else json.dumps(text).encode()
    if binary is not None and header is None:
        header = str(len(content))
    headers = {} if header is None else {HEADER: header}
    return client.post(path, content=content + (binary or b""), headers=headers)


@dataclass(frozen=True)
class Read:
    """A decoded inference response."""

    document: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


_DTYPES = {"FP32": "<f4", "INT64": "<i8"}


def read(response: Response) -> Read:
    """Decode an inference response, in JSON or binary."""
    assert response.status_code == 200, response.text
    size = int(response.headers.get(HEADER, len(response.content)))
    found = json.loads(response.content[:size])
    binary = response.content[size:]
    arrays: dict[str, NDArray[Any]] = {}
    for output in found["outputs"]:
        if "parameters" in output:
            taken = output["parameters"]["binary_data_size"]
            part, binary = binary[:taken], binary[taken:]
            assert len(part) == taken
        if output["datatype"] == "BYTES":
            continue
        dtype = _DTYPES[output["datatype"]]
        flat = np.frombuffer(part, dtype) if "parameters" in output else np.array(output["data"], dtype)
        arrays[output["name"]] = flat.reshape(output["shape"])
    assert not binary
    return Read(found, arrays)
