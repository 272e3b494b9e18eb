import pytest

from service.core.errors import MalformedRequest
from service.inference.admission.credentials import presented_key

Fields = list[tuple[bytes | str, bytes | str]]


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ([], None),
        ([(b"Authorization", b"Bearer ink_abc")], b"ink_abc"),
        ([(b"authorization", b"bearer  ink_abc ")], b"ink_abc"),
        ([(b"AUTHORIZATION", b"BEARER ink_abc")], b"ink_abc"),
        ([(b"X-API-Key", b" ink_abc\t")], b"ink_abc"),
        ([("authorization", "Bearer ink_abc")], b"ink_abc"),
        ([("x-api-key", "ink_abc"), ("other", "value")], b"ink_abc"),
        ([(b"authorization", b"Bearer k"), (b"x-api-key", b"k")], b"k"),
        ([(b"authorization", b"Basic dTpw"), (b"x-api-key", b"k")], b"k"),
        ([(b"authorization", b"Basic dTpw")], None),
        ([(b"authorization", b"Bearer")], None),
        ([(b"authorization", b"Bearer ")], None),
        ([(b"authorization", b"Bearerink_abc")], None),
        ([(b"x-api-key", b"")], None),
        ([(b"x-api-key", b"\xff\xfe")], b"\xff\xfe"),
        ([("x-api-key", "\udcff")], "\udcff".encode(errors="surrogatepass")),
    ],
)
def test_the_key_is_found(fields: Fields, key: bytes | None) -> None:
    """In either field, in HTTP and gRPC metadata; other schemes are ignored."""
    assert presented_key(fields) == key


@pytest.mark.parametrize(
    "fields",
    [
        [(b"authorization", b"Bearer secret1"), (b"x-api-key", b"secret2")],
        [(b"authorization", b"Bearer secret1"), (b"authorization", b"Bearer secret2")],
        [("x-api-key", "secret1"), ("x-api-key", "secret2")],
    ],
)
def test_two_different_keys_are_refused(fields: Fields) -> None:
    """The message contains neither."""
    with pytest.raises(MalformedRequest) as caught:
        presented_key(fields)

    assert "secret" not in str(caught.value)
