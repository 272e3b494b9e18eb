"""Encodes inference responses in JSON, with or without binary contents."""

from functools import lru_cache

from service.codecs.json import documents
from service.oip import tensor_contents
from service.oip.messages import InferenceResponse


def write_response(response: InferenceResponse, is_binary: bool) -> tuple[bytes, int | None]:
    """Encode an inference response.

    Args:
        response: The response.
        is_binary: Whether outputs are binary by default.

    Returns:
        The body, and the length of its JSON in bytes; None if the body has no binary contents.
    """
    contents: list[bytes] = []
    outputs = []
    for output in response.outputs:
        head = _tensor_head(output.name, output.datatype, output.shape)
        if is_binary if output.is_binary is None else output.is_binary:
            contents.append(tensor_contents.encode(output.content))
            outputs.append(b'%b"parameters":{"binary_data_size":%d}}' % (head, len(contents[-1])))
        elif isinstance(output.content, list):
            elements = documents.dump([element.decode() for element in output.content])
            outputs.append(b'%b"data":%b}' % (head, elements))
        else:
            outputs.append(b'%b"data":%b}' % (head, documents.dump(output.content.ravel())))
    model = response.model
    id_member = b',"id":' + documents.dump(response.id) if response.id else b""
    text = b'%b%b,"outputs":[%b]}' % (_head(model.name, model.version), id_member, b",".join(outputs))
    return b"".join((text, *contents)), len(text) if contents else None


@lru_cache
def _head(name: str, version: str) -> bytes:
    return documents.dump({"model_name": name, "model_version": version})[:-1]


@lru_cache
def _tensor_head(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    return documents.dump({"name": name, "datatype": datatype, "shape": shape})[:-1] + b","
