"""Admission of gRPC calls by API keys, rights and rates, with the same rules as over HTTP."""

from collections.abc import Iterable

from service.inference.admission.access import Access, Grant
from service.inference.admission.credentials import presented_key
from service.inference.admission.keys import Right

Metadata = Iterable[tuple[str, str | bytes]]
"""Metadata of a call: lower-case names, and values; bytes if the name ends in `-bin`."""


async def authorize(access: Access, metadata: Metadata, address: str, right: Right) -> Grant | None:
    """Authenticate the client of a call, check its right, and charge one request to its rate.

    Args:
        access: Admission control.
        metadata: Metadata of the call; the API key is in `authorization` (`Bearer KEY`) or in `x-api-key`.
        address: IP address of the client, or `-`.
        right: Right that the method needs. Without keys `MANAGE` is not checked: the setting `management`
            decides.

    Returns:
        The admission; None if neither keys nor rates apply.

    Raises:
        Unauthenticated: A key is needed, and it is missing or unknown.
        Forbidden: The client lacks the right.
        RateExceeded: The client's rate is used up.
        Overloaded: Too many keys are being checked.
    """
    if access.is_open or (right is Right.MANAGE and not access.has_keys):
        return None
    key = presented_key(metadata) if access.has_keys else None
    if access.needs_verify(key):
        await access.verify(key, address)
    return access.authorize(key, address, right)
