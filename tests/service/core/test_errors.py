import ast
import re
from pathlib import Path

import pytest

from service.core import errors
from service.core.errors import (
    BlankImage,
    BodyTimeout,
    BrokenPicture,
    CapacityError,
    DeadlineExceeded,
    DigestMismatch,
    Forbidden,
    GoldenMismatch,
    GraphRefused,
    InferenceFailed,
    MalformedRequest,
    ManagementOff,
    ManifestInvalid,
    ModelNotReady,
    NotExplainable,
    Overloaded,
    PayloadTooLarge,
    RateExceeded,
    ReloadRefused,
    ReportBroken,
    ReportUnavailable,
    ServiceError,
    Stopping,
    TensorMismatch,
    TooManyBytes,
    Unauthenticated,
    UnknownLayer,
    UnknownModel,
    UnknownPicture,
    UnknownUnit,
    UnknownVersion,
    UnsupportedMediaType,
)

EXAMPLES: list[tuple[ServiceError, str]] = [
    (
        MalformedRequest("Field 'image'", "28 rows", "27 rows"),
        "Field 'image' should be 28 rows; got 27 rows.",
    ),
    (BrokenPicture("Body", "a PNG", "half of one"), "Body should be a PNG; got half of one."),
    (TensorMismatch("Input 'image'", "uint8", "int64"), "Input 'image' should be uint8; got int64."),
    (BlankImage("Picture"), "Picture should show something drawn; got an even surface."),
    (BlankImage("Drawing", "no points"), "Drawing should show something drawn; got no points."),
    (
        PayloadTooLarge("Body", 16777216, "bytes", "more"),
        "Body should be at most 16,777,216 bytes; got more.",
    ),
    (
        UnsupportedMediaType("Content-Type", ["image/png", "image/webp"], "text/plain"),
        "Content-Type should be one of image/png, image/webp; got text/plain.",
    ),
    (UnknownModel("inc", ["ink", "softmax"]), "Model should be one of ink, softmax; got 'inc'."),
    (UnknownModel("ink", []), "Model should be one of (none); got 'ink'."),
    (UnknownVersion("ink", "3", ["1", "2"]), "Version of 'ink' should be one of 1, 2; got '3'."),
    (UnknownVersion("ink", "3", []), "Version of 'ink' should be one of (none); got '3'."),
    (UnknownLayer("ink", "x", ["output"]), "Layer of 'ink' should be one of output; got 'x'."),
    (
        NotExplainable("iris", "1"),
        "Model should have dense layers with ReLU only, which can be explained exactly; got 'iris' version "
        "1, which is served with predictions alone.",
    ),
    (UnknownUnit("output", "0 to 9", "10"), "Unit of layer 'output' should be 0 to 9; got '10'."),
    (
        ReportUnavailable("ink", "1", "have been written", "none"),
        "Report of 'ink' version 1 should have been written; got none.",
    ),
    (
        ReportBroken("ink", "1", "be readable", "'not a file'"),
        "Report of 'ink' version 1 should be readable; got 'not a file'.",
    ),
    (
        UnknownPicture("ink", "x", ["history", "weights"]),
        "Picture of the report of 'ink' should be one of history, weights; got 'x'.",
    ),
    (BodyTimeout(1.5, 1000), "Body should arrive within 1.5 seconds; got 1,000 bytes of it."),
    (
        Unauthenticated("none"),
        "An API key should come as 'Authorization: Bearer' or 'X-API-Key'; got none.",
    ),
    (
        Forbidden("Key 'a' should have the right manage", "predict"),
        "Key 'a' should have the right manage; got predict.",
    ),
    (RateExceeded(10, "requests", 1.0, 0.5), "A client should send at most 10 requests in 1 s; got more."),
    (
        ManagementOff(),
        "Management should be asked over the operators' port (--admin-port), or switched on "
        "(--management, INKLING_MANAGEMENT=true); it is off.",
    ),
    (
        ReloadRefused("ink", ["ink/2: it is broken.", "ink/3: no."]),
        "Every published version of 'ink' should be sound; got ink/2: it is broken. ink/3: no.",
    ),
    (ModelNotReady("ink", "it is loading"), "Model 'ink' should be ready; it is not: it is loading."),
    (Overloaded(66), "The queue should have a free place; 66 requests are in it or being worked on."),
    (Stopping(), "The service should be running; it is stopping."),
    (
        TooManyBytes(1000),
        "Bodies being answered should be at most 1,000 bytes together; they are more.",
    ),
    (DeadlineExceeded(30.0), "An answer should take at most 30 seconds; it was not ready."),
    (ManifestInvalid("ink/1", "it is broken."), "ink/1: it is broken."),
    (
        DigestMismatch("ink/1", "model.onnx", "aa", "bb"),
        "ink/1: SHA-256 of model.onnx should be aa; got bb.",
    ),
    (GraphRefused("ink/1", "no."), "ink/1: no."),
    (GoldenMismatch("ink/1", "off."), "ink/1: off."),
    (InferenceFailed("ink", "1"), "Model 'ink' version 1 could not compute an answer."),
]


def _classes(kind: type[ServiceError] = ServiceError) -> list[type[ServiceError]]:
    found = [kind]
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            found += _classes(child)
    return found


@pytest.mark.parametrize(("error", "sentence"), EXAMPLES, ids=lambda it: type(it).__name__)
def test_messages(error: ServiceError, sentence: str) -> None:
    """
    A message states what was expected, then what was received.
    """
    assert str(error) == sentence


def test_every_error_has_an_example() -> None:
    shown = {type(error) for error, _ in EXAMPLES}
    parents = {parent for kind in shown for parent in kind.__mro__[1:]}

    assert set(_classes()) - parents == shown - parents


def test_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    tree = (errors.__doc__ or "").split("\n\n")[1]
    named = {
        name
        for line in tree.splitlines()
        for name in re.findall(r"[A-Z]\w+", re.split(r"\s{2,}(?=[a-z])", line.strip())[0])
        if name != "ONNX"
    }

    assert named == {kind.__name__ for kind in _classes()}


def test_capacity_errors_have_a_retry_delay() -> None:
    """
    A whole number of seconds, for Retry-After.
    """
    waits = [kind.retry_after_s for kind in _classes(CapacityError) if issubclass(kind, CapacityError)]

    assert all(isinstance(wait, int) and wait >= 1 for wait in waits)


def test_errors_import_nothing() -> None:
    tree = ast.parse(Path(errors.__file__).read_text())

    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]

    assert [ast.unparse(node) for node in imports] == ["from collections.abc import Sequence"]


def test_client_message_hides_details_of_internal_errors() -> None:
    assert errors.client_message(errors.ManifestInvalid("a/1", "a secret")) == errors.INTERNAL_MESSAGE
    assert "mlp" not in errors.client_message(errors.InferenceFailed("mlp", "1"))
    assert "nobody" in errors.client_message(errors.UnknownModel("nobody", []))
    assert "1 requests" in errors.client_message(errors.Overloaded(1))
