"""Admission of requests: authentication by API key, authorization by right and model, rate limits.

HTTP and gRPC both call it at the end of a request's head. Nothing here blocks, except `Access.verify`.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path

from service.core.errors import Forbidden, PayloadTooLarge
from service.inference.admission import headers
from service.inference.admission.buckets import Buckets, BucketTable, SpendResult
from service.inference.admission.key_file import KeyFile
from service.inference.admission.keys import Client, Right
from service.inference.admission.rates import UNLIMITED, RateLimits, rate_exceeded
from service.inference.admission.verifier import Verifier

GRANT = "inkling.grant"
"""Key of an ASGI scope: the request's `Grant`."""

ANONYMOUS = "-"
"""Name of a client without a key, in the log."""

_ADDRESSES = 8192
"""Number of cached identities: computing one costs a hash."""
_POLL_S = 1.0
"""Interval in seconds at which the key file is checked for changes."""
_MAX_ADDRESS = 64
_MAX_SHOWN = 40

_ANONYMOUS_CLIENT = Client(ANONYMOUS, frozenset({Right.PREDICT, Right.READ}))
_OPERATOR_CLIENT = Client(ANONYMOUS, frozenset(Right))


class Grant:
    """The admission of one request.

    Attributes:
        client: Name of the client, for log and audit; `-` without a key.
    """

    __slots__ = ("_buckets", "_identity", "_limits", "_models", "_spent", "client")

    def __init__(self, client: Client, limits: RateLimits, buckets: Buckets, identity: bytes) -> None:
        self.client = client.name
        self._models = client.models
        self._limits = limits
        self._buckets = buckets
        self._identity = identity
        self._spent: SpendResult | None = None

    def check_model(self, model: str) -> None:
        """Check that the client may use a model.

        Raises:
            Forbidden: The key file allows it other models only.
        """
        if self._models is not None and model not in self._models:
            got = repr(model if len(model) <= _MAX_SHOWN else model[: _MAX_SHOWN - 4] + " ...")
            raise Forbidden(f"Model should be one of the API key's: {', '.join(sorted(self._models))}", got)

    def charge(self, images: int) -> None:
        """Charge the images of a request to the client's rate limit, before they are predicted.

        The bucket must hold one image; a larger request puts it in debt, and the client's next request is
        refused until the bucket holds an image again.

        Args:
            images: Number of images, >= 0.

        Raises:
            RateExceeded: The bucket holds no image.
            PayloadTooLarge: The request has more images than the bucket can hold.
        """
        rate = self._limits.images
        if rate is None or images == 0:
            return
        if images > rate.burst:
            raise PayloadTooLarge("Images of one request of this client", rate.burst, "images", f"{images:,}")
        self._spend(None, images)

    def fields(self) -> headers.Fields:
        """Return the response's header fields `RateLimit-Policy` and `RateLimit`; none without a rate."""
        return [] if self._spent is None else headers.limit_fields(self._limits, self._spent)

    def admit(self, right: Right) -> None:
        """Charge one request; if it will have images, check that the bucket of images is not empty.

        Raises:
            RateExceeded: The client's rate is used up.
        """
        if self._limits.is_limited:
            self._spend(1, 0 if right is Right.PREDICT else None)

    def _spend(self, requests: int | None, images: int | None) -> None:
        spent = self._buckets.spend(self._identity, self._limits, requests, images)
        self._spent = spent
        if spent.refused == "requests" and self._limits.requests is not None:
            raise rate_exceeded(self._limits.requests, "requests", spent.requests_full_at, spent.now)
        if spent.refused == "images" and self._limits.images is not None:
            raise rate_exceeded(self._limits.images, "images", spent.images_full_at, spent.now)


class Access:
    """The entry point of admission. Thread-safe.

    Attributes:
        has_keys: Whether requests need an API key.
        is_open: Whether there are neither keys nor rates: then `authorize` admits every request for `predict`
            and `read`, and need not be called for them; it must still be called for `manage`.
    """

    def __init__(self, keys: Path | None, limits: RateLimits, buckets: Buckets | None = None) -> None:
        """Read the key file, if there is one.

        Args:
            keys: The key file; None admits clients without keys.
            limits: Rate limits of clients whose line has none; without keys, those of each address.
            buckets: Storage of the token buckets; None keeps them in this process.

        Raises:
            KeysInvalid: The file cannot be read or is not valid.
        """
        self._limits = limits
        self._buckets: Buckets = buckets if buckets is not None else BucketTable()
        self._keys = None if keys is None else KeyFile(keys, limits)
        self._verifier = None
        if self._keys is not None:
            self._verifier = Verifier(self._keys, self._buckets)
        self.has_keys = self._keys is not None
        self.is_open = self._keys is None and not limits.is_limited
        self._anonymous = Grant(_ANONYMOUS_CLIENT, UNLIMITED, self._buckets, b"")
        self._operator = Grant(_OPERATOR_CLIENT, UNLIMITED, self._buckets, b"")
        self._identity: Callable[[bytes, str], bytes] = lru_cache(_ADDRESSES)(self._identity_of)

    def authorize(
        self,
        key: bytes | None,
        address: str,
        right: Right,
        model: str | None = None,
        is_operator: bool = False,
    ) -> Grant:
        """Admit or refuse one request.

        Args:
            key: Key that `credentials.presented_key` returned; ignored without a key file.
            address: Address of the client itself, not of a trusted proxy.
            right: Right that the request needs.
            model: Name of the requested model; None if there is none, or if it is not known yet: call
                `Grant.check_model` later.
            is_operator: Whether the request came over the operators' listener: no rate applies, and without
                a key file everything is allowed; with one, a key is needed as elsewhere.

        Returns:
            The admission, for charging images (`charge`), response headers (`fields`), the log and the audit
            record (`client`).

        Raises:
            Unauthenticated: A key is needed, and it is missing or unknown.
            Overloaded: The key is a passphrase that was not checked yet; await `verify` before.
            Forbidden: The client lacks the right or may not use the model; or it manages without a key.
            RateExceeded: The client's rate is used up.
        """
        if self._verifier is None:
            if is_operator:
                return self._operator
            if right is Right.MANAGE:
                raise Forbidden(
                    "Management should come with an API key that has the right 'manage', "
                    "or over the operators' listener",
                    "a request without, as there is no key file",
                )
            if not self._limits.is_limited:
                return self._anonymous
            identity = self._identity(b"address", address[:_MAX_ADDRESS])
            grant = Grant(_ANONYMOUS_CLIENT, self._limits, self._buckets, identity)
        else:
            client = self._verifier.find(key)
            if right not in client.rights:
                rights = ", ".join(sorted(client.rights))
                raise Forbidden(f"The API key should have the right '{right}'", rights)
            limits = UNLIMITED if is_operator else client.limits
            grant = Grant(client, limits, self._buckets, self._identity(b"key", client.name))
            if model is not None:
                grant.check_model(model)
        grant.admit(right)
        return grant

    def needs_verify(self, key: bytes | None) -> bool:
        """Return whether `verify` must be awaited before `authorize`; never for generated keys."""
        return self._verifier is not None and self._verifier.needs_check(key)

    async def verify(self, key: bytes | None, address: str) -> None:
        """Check a passphrase on a thread, and cache the result for `authorize`.

        Raises:
            RateExceeded: Too many checks for this address.
            Overloaded: Too many checks are running.
            Stopping: The service is stopping.
        """
        if self._verifier is not None:
            await self._verifier.check(key, self._identity(b"check", address[:_MAX_ADDRESS]))

    def reload(self) -> bool:
        """Read the key file again; as `KeyFile.reload`.

        Returns:
            Whether the file was valid; True if there is none.
        """
        return self._keys is None or self._keys.reload()

    def poll(self) -> bool:
        """Read the key file again if it has changed; as `KeyFile.poll`.

        Returns:
            Whether new keys were loaded.
        """
        return self._keys is not None and self._keys.poll()

    def prepare(self) -> Callable[[], None]:
        """Read the key file again; a reload hook.

        Raises:
            ValueError: The file is not valid.
        """
        if not self.reload():
            raise ValueError("The key file should be valid; see the log.")
        return lambda: None

    @asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        """Read the key file again whenever it changes, while entered."""

        async def poll() -> None:
            while True:
                await asyncio.sleep(_POLL_S)
                await asyncio.to_thread(self.poll)

        task = asyncio.create_task(poll()) if self.has_keys else None
        try:
            yield
        finally:
            if task is not None:
                task.cancel()

    def close(self) -> None:
        """Stop the thread that checks passphrases."""
        if self._verifier is not None:
            self._verifier.close()

    def _identity_of(self, kind: bytes, name: str) -> bytes:
        return self._buckets.identity(kind, name.encode() if kind == b"key" else network_of(name))


def network_of(address: str) -> bytes:
    """Return the network whose rate limit an address shares: an IPv4 address itself, or an IPv6 /64.

    A host usually has a whole /64, and could use each of its 2^64 addresses once. IPv4-mapped IPv6 addresses
    count as IPv4. Text that is no address is returned as it is.
    """
    try:
        return socket.inet_pton(socket.AF_INET, address)
    except (OSError, ValueError):
        pass
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address.encode(errors="replace")
    if parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.packed
    return parsed.packed[:8]
