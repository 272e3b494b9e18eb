"""Decides whether a request is admitted: whose it is, whether it may do this, and within its rate.

HTTP and gRPC both ask here, at the end of a request's head. Nothing here waits, except `Access.verify`.
"""

import ipaddress
import socket
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from service.core.errors import Forbidden, PayloadTooLarge
from service.inference.admission import headers
from service.inference.admission.buckets import Buckets, BucketTable, Spent
from service.inference.admission.key_file import KeyFile
from service.inference.admission.keys import Client, Right
from service.inference.admission.rates import UNLIMITED, Limits, rate_exceeded
from service.inference.admission.verifier import Verifier

GRANT = "inkling.grant"
"""Key of an ASGI scope: the request's `Grant`."""

ANONYMOUS = "-"
"""Name of a client without a key, in the log."""

_ADDRESSES = 8192
"""Identities that are remembered, so that they are not computed for every request."""
_MAX_ADDRESS = 64
_MAX_SHOWN = 40

_EVERYBODY = Client(ANONYMOUS, frozenset({Right.PREDICT, Right.READ}))
_OPERATOR = Client(ANONYMOUS, frozenset(Right))


class Grant:
    """The admission of one request.

    Attributes:
        client: Name of the client, for log and audit; `-` without a key.
    """

    __slots__ = ("_buckets", "_identity", "_limits", "_models", "_spent", "client")

    def __init__(self, client: Client, limits: Limits, buckets: Buckets, identity: bytes) -> None:
        self.client = client.name
        self._models = client.models
        self._limits = limits
        self._buckets = buckets
        self._identity = identity
        self._spent: Spent | None = None

    def check_model(self, model: str) -> None:
        """Check that the client may use a model.

        Raises:
            Forbidden: Its line in the key file names others.
        """
        if self._models is not None and model not in self._models:
            got = repr(model if len(model) <= _MAX_SHOWN else model[: _MAX_SHOWN - 4] + " ...")
            raise Forbidden(f"Model should be one of the API key's: {', '.join(sorted(self._models))}", got)

    def charge(self, images: int) -> None:
        """Take the images of a request from the client's rate, once they are counted and before they are run.

        A request may have more images than are left, as long as there is one: the bucket is in debt then, and
        the client's next request is refused until it holds an image again.

        Args:
            images: How many, >= 0.

        Raises:
            RateExceeded: None is left.
            PayloadTooLarge: They are more than the bucket can ever hold.
        """
        rate = self._limits.images
        if rate is None or images == 0:
            return
        if images > rate.burst:
            raise PayloadTooLarge("Images of one request of this client", rate.burst, "images", f"{images:,}")
        self._spend(None, images)

    def fields(self) -> headers.Fields:
        """Return the header fields `RateLimit-Policy` and `RateLimit` for the answer; none without a rate."""
        return [] if self._spent is None else headers.of_limits(self._limits, self._spent)

    def admit(self, right: Right) -> None:
        """Count the request; if it will bring images, check that the bucket of images is not empty.

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
    """The one entry point of admission. Thread-safe.

    Attributes:
        has_keys: Whether requests need an API key.
        is_open: Whether there are neither keys nor rates: `authorize` then admits every request for `predict`
            and `read`, and need not be called for them. It must be called for `manage` all the same.
    """

    def __init__(self, keys: Path | None, limits: Limits, buckets: Buckets | None = None) -> None:
        """Read the key file, if there is one.

        Args:
            keys: The key file; None admits clients without keys.
            limits: Rates of clients whose line names none; without keys, those of each address.
            buckets: Where rates are counted; None keeps them in this process.

        Raises:
            KeysInvalid: The file cannot be read, or a line is not what it should be.
        """
        self._limits = limits
        self._buckets: Buckets = buckets if buckets is not None else BucketTable()
        self._keys = None if keys is None else KeyFile(keys, limits)
        self._verifier = None
        if self._keys is not None:
            self._verifier = Verifier(self._keys, self._buckets)
        self.has_keys = self._keys is not None
        self.is_open = self._keys is None and not limits.is_limited
        self._everybody = Grant(_EVERYBODY, UNLIMITED, self._buckets, b"")
        self._operator = Grant(_OPERATOR, UNLIMITED, self._buckets, b"")
        self._identity: Callable[[bytes, str], bytes] = lru_cache(_ADDRESSES)(self._identity_of)

    def authorize(
        self,
        key: bytes | None,
        address: str,
        right: Right,
        model: str | None = None,
        is_operator: bool = False,
    ) -> Grant:
        """Decide about one request.

        Args:
            key: As `credentials.presented_key` found it; ignored if there is no key file.
            address: The client's, as text; already that of the client, not of a trusted proxy.
            right: What the request needs.
            model: The model it names; None if it names none, or is not known yet: `Grant.check_model` then
                follows.
            is_operator: Whether it came over the operators' listener. There, no rate applies, and without a
                key file everything is allowed; with one, a key is needed as elsewhere.

        Returns:
            The admission; hand it to what decodes images (`charge`), writes the answer (`fields`), the log
            and the audit record (`client`).

        Raises:
            Unauthenticated: A key is needed, and none came or an unknown one.
            Overloaded: The key is a passphrase that was not checked; await `verify` before.
            Forbidden: The client lacks the right, or may not use the model; or it would manage without a key.
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
                return self._everybody
            grant = Grant(
                _EVERYBODY, self._limits, self._buckets, self._identity(b"address", address[:_MAX_ADDRESS])
            )
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
        """Tell whether `verify` must be awaited before `authorize`; never for generated keys."""
        return self._verifier is not None and self._verifier.needs_check(key)

    async def verify(self, key: bytes | None, address: str) -> None:
        """Check a passphrase, on a thread, and remember the result for `authorize`.

        Raises:
            RateExceeded: Too many were checked for the address.
            Overloaded: Too many are being checked.
            Stopping: The service stops.
        """
        if self._verifier is not None:
            await self._verifier.check(key, self._identity(b"check", address[:_MAX_ADDRESS]))

    def reload(self) -> bool:
        """Read the key file again, for SIGHUP; bad keys are logged and not used. Call it on a thread.

        Returns:
            Whether the file was good; True if there is none.
        """
        return self._keys is None or self._keys.reload()

    def poll(self) -> bool:
        """Read the key file again if it has changed; call it on a thread, about once a second.

        Returns:
            Whether new keys were loaded.
        """
        return self._keys is not None and self._keys.poll()

    def close(self) -> None:
        """End the thread that checks passphrases."""
        if self._verifier is not None:
            self._verifier.close()

    def _identity_of(self, kind: bytes, name: str) -> bytes:
        return self._buckets.identity(kind, name.encode() if kind == b"key" else network_of(name))


def network_of(address: str) -> bytes:
    """Return whose rate an address shares: an IPv4 address its own, an IPv6 address that of its /64.

    A host has a /64 at least to itself, and could use each of its 2^64 addresses once. IPv4 addresses written
    as IPv6 are IPv4 addresses. What is no address stands for itself.
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
