"""What gRPC asks of admission control, as interfaces: who calls, what they may do, and how often.

`KeyAccess` decides by API keys.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from service.inference.admission import access as keys
from service.inference.admission.credentials import presented_key
from service.inference.admission.keys import Right as KeyRight

Right = Literal["predict", "read", "manage"]
"""What an API key may allow: predictions; descriptions and statistics; loading and unloading models."""

Metadata = Iterable[tuple[str, str | bytes]]
"""Of a call: names in small letters, and values; bytes where the name ends in `-bin`."""

Fields = Sequence[tuple[str, str]]
"""Trailing metadata: names in small letters, and values in ASCII."""


class Grant(Protocol):
    """The admission of one call."""

    @property
    def client(self) -> str:
        """Name of the client; `-` without a key."""

    def check_model(self, model: str) -> None:
        """Check that the client may use a model.

        Args:
            model: Its name, as the client wrote it.

        Raises:
            Forbidden: It may not.
        """

    def charge(self, images: int) -> None:
        """Take the images of a call from the client's rate, before they are predicted. Thread-safe.

        Args:
            images: How many, >= 0.

        Raises:
            RateExceeded: The rate is used up.
            PayloadTooLarge: They are more than the rate ever allows at once.
        """

    def fields(self) -> Fields:
        """Return trailing metadata that tells the state of the client's rate."""


class Access(Protocol):
    """Admission control."""

    async def authorize(self, metadata: Metadata, address: str, right: Right) -> Grant:
        """Identify the client of a call, check a right, and take one request from the client's rate.

        Args:
            metadata: Of the call. The API key is in `authorization` (`Bearer KEY`) or in `x-api-key`.
            address: The client's IP address, or `-`.
            right: What the method needs.

        Raises:
            Unauthenticated: A key is needed, and there is none or an unknown one.
            Forbidden: The client lacks the right.
            RateExceeded: The client's rate is used up.
        """


class _Unlimited:
    client = "-"

    def check_model(self, model: str) -> None:
        del model

    def charge(self, images: int) -> None:
        del images

    def fields(self) -> Fields:
        return ()


UNLIMITED = _Unlimited()
"""A grant of everything."""


class KeyAccess:
    """Admission control by API keys, rights and rates, as over HTTP."""

    def __init__(self, access: keys.Access) -> None:
        self._access = access

    async def authorize(self, metadata: Metadata, address: str, right: Right) -> Grant:
        """Return what a call may do; raises as `Access.authorize`.

        Without keys nobody is refused here: the setting `management` decides about models then.
        """
        access = self._access
        if access.is_open or (right == "manage" and not access.has_keys):
            return UNLIMITED
        key = presented_key(metadata) if access.has_keys else None
        if access.needs_verify(key):
            await access.verify(key, address)
        return access.authorize(key, address, KeyRight(right))
