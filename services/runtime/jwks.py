"""The issuer's public keys, fetched when first needed and kept, so that services start in any order.

A new key is found by its unknown id, a withdrawn one is dropped at the next refresh, and an issuer that is away doesn't
matter to who has its keys.
"""

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

import httpx
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey

from services.runtime.errors import UnavailableError
from services.runtime.signed_claims import PublicKey

logger = structlog.get_logger(__name__)

FETCH_SECONDS_MAX = 5.0
"""How long one fetch may take."""

FETCH_PAUSE_SECONDS = 3.0
"""The least time between two fetches: tokens with made-up key ids must not turn into requests to the issuer."""

KEYS_FRESH_SECONDS = 300.0
"""After this the keys are fetched again when they are next used; a withdrawn key is believed for no longer."""

STARTING_SECONDS_MAX = 10.0
"""How long an issuer may be away before anybody is warned: services start in any order, most of them before it."""

DOCUMENT_BYTES_MAX = 256 * 1024
"""A bound on the answer, and no more of it is read; a key takes about 450 bytes."""

JSON_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}
"""How documents are asked for: uncompressed, since a kilobyte may unpack to a megabyte."""

KEY_BITS_MIN = 2048
"""Shorter RSA keys aren't believed (RFC 7518, section 3.3)."""

OUR_ALGORITHMS: Final = ("RS256",)
"""What our own tokens are signed with."""

_CURVES: Final = {
    "ES256": "P-256",
    "ES384": "P-384",
    "ES512": "P-521",
    "EdDSA": "Ed25519",
    "Ed25519": "Ed25519",
}
"""The curve that a key needs for an algorithm (RFC 7518, section 3.4; RFC 9864)."""

_OF_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
"""The algorithms of RSA keys."""

_UNREADABLE: Final = (JoseError, ValueError, TypeError, KeyError, RecursionError)
"""What is raised of a key or a document that is none."""

Address = str | Callable[[httpx.AsyncClient], Awaitable[str]]
"""Where a key set is, or how that is found out, each time anew: `discovery.py`."""


class JwksClient:
    """The key set behind a URL; fits `PublicKeys`."""

    def __init__(
        self,
        url: Address,
        *,
        algorithms: Collection[str] = OUR_ALGORITHMS,
        http: httpx.AsyncClient | None = None,
        pause_seconds: float = FETCH_PAUSE_SECONDS,
        first_pause_seconds: float = 0.0,
        fresh_seconds: float = KEYS_FRESH_SECONDS,
    ) -> None:
        """Fetch from `url`, with an own client unless one is handed in.

        Args:
            url: Where the JSON Web Key Set is.
            algorithms: What the keys have to be good for, any of these; other keys are left out.
            http: A client that stays its owner's to close.
            pause_seconds: The least time between two fetches.
            first_pause_seconds: The same, as long as there are no keys.
            fresh_seconds: How long keys are believed without another look.
        """
        self._url = url
        self._algorithms = frozenset(algorithms)
        self._http = http
        self._own_http = http is None
        self._pause_seconds = pause_seconds
        self._first_pause_seconds = first_pause_seconds
        self._fresh_seconds = fresh_seconds
        self._keys: dict[str, PublicKey] | None = None
        self._fetched_at_seconds = -math.inf
        self._tried_at_seconds = -math.inf
        self._began_at_seconds = time.monotonic()
        self._is_away = False
        self._refreshing: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> PublicKey | None:
        """Return the key with this id, or None when the issuer has none.

        Raises:
            UnavailableError: The issuer can't be reached and no keys are known.
        """
        if self._keys is None or key_id not in self._keys:
            await self._refreshed()
        elif self._is_stale():
            # Withdrawn keys are looked for without making a caller wait whose key is known.
            self._refresh_once()
        # While the issuer can't be asked, a key that isn't known may be a new one: nobody is called a forger for it.
        if self._keys is None or (key_id not in self._keys and self._is_away):
            raise UnavailableError("The issuer's keys can't be had now.", reason="issuer_unavailable")
        return self._keys.get(key_id)

    async def check_ready(self) -> None:
        """Fit a readiness check: there are keys, or they can be had.

        Raises:
            UnavailableError: There are none.
        """
        if self._keys is None:
            await self._refreshed()
        if self._keys is None:
            raise UnavailableError("The issuer's keys can't be had now.", reason="issuer_unavailable")

    async def aclose(self) -> None:
        """Close the connections."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
        if self._own_http and self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _refreshed(self) -> None:
        """Wait for a look that all callers share; it goes on when one of them leaves, since the others wait for it."""
        await asyncio.shield(self._refresh_once())

    def _refresh_once(self) -> asyncio.Task[None]:
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(), name="jwks-refresh")
        return self._refreshing

    async def _refresh(self) -> None:
        """Fetch, unless somebody tried a moment ago."""
        # Without any keys nobody is let in: an issuer that starts after its first caller is found soon.
        pause_seconds = self._pause_seconds if self._keys is not None else self._first_pause_seconds
        if time.monotonic() - self._tried_at_seconds < pause_seconds:
            return
        try:
            async with asyncio.timeout(FETCH_SECONDS_MAX):
                self._keys = await self._fetch()
        except (TimeoutError, httpx.HTTPError, *_UNREADABLE) as error:
            self._is_away = True
            starting = self._keys is None and time.monotonic() - self._began_at_seconds < STARTING_SECONDS_MAX
            log = logger.info if starting else logger.warning
            log("jwks_fetch_failed", url=str(self._url), error=repr(error), keys_known=self._keys is not None)
        else:
            self._is_away = False
            self._fetched_at_seconds = time.monotonic()
        finally:
            self._tried_at_seconds = time.monotonic()

    async def _fetch(self) -> dict[str, PublicKey]:
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=FETCH_SECONDS_MAX, trust_env=False)
        url = self._url if isinstance(self._url, str) else await self._url(self._http)
        return usable_keys(_key_set(await fetched_json(self._http, url)), self._algorithms)

    def _is_stale(self) -> bool:
        return time.monotonic() - self._fetched_at_seconds > self._fresh_seconds


async def fetched_json(http: httpx.AsyncClient, url: str) -> Any:
    """Fetch a small document.

    Raises:
        httpx.HTTPError: It can't be had.
        ValueError: It is no JSON, or too large.
        RecursionError: It is nested too deeply.
    """
    async with http.stream("GET", url, headers=JSON_HEADERS) as response:
        response.raise_for_status()
        return json.loads(await small_content(response))


async def small_content(response: httpx.Response) -> bytes:
    """Read an answer as it comes, up to the bound: whoever answers without an end would fill the memory.

    Raises:
        httpx.HTTPError: It breaks off.
        ValueError: It is too large.
    """
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > DOCUMENT_BYTES_MAX:
            raise ValueError("the document is too large")
    return bytes(content)


def _key_set(document: Any) -> KeySet:
    """Read a key set, without keys of kinds and curves that aren't ours, or that can't be read (RFC 7517, section 5).

    Raises:
        JoseError: It is none, or no key of it can be read; so are the other errors of `_UNREADABLE`.
    """
    keys, errors = list[Key](), list[Exception]()
    for jwk in document["keys"]:
        try:
            if jwk["kty"] == "RSA" or jwk.get("crv") in _CURVES.values():
                keys += KeySet.import_key_set({"keys": [jwk]}).keys
        except _UNREADABLE as error:
            errors.append(error)
    if errors and not keys:
        raise errors[0]
    if errors:
        logger.info("jwks_keys_passed_over", count=len(errors), error=repr(errors[0]))
    return KeySet(keys)


def usable_keys(key_set: KeySet, algorithms: Collection[str] = OUR_ALGORITHMS) -> dict[str, PublicKey]:
    """Pick the keys that may sign tokens with one of these algorithms, by their ids: meant for signatures, and strong.

    Shared secrets are never among them, whatever the algorithms are.
    """
    return {
        key.kid: key
        for key in key_set.keys
        if isinstance(key, RSAKey | ECKey | OKPKey)
        and key.kid
        and key.get("use", "sig") == "sig"
        and any(_fits(key, algorithm) for algorithm in algorithms)
    }


def _fits(key: PublicKey, algorithm: str) -> bool:
    if key.get("alg", algorithm) != algorithm:
        return False
    if isinstance(key, RSAKey):
        return algorithm in _OF_RSA and key.public_key.key_size >= KEY_BITS_MIN
    return key.curve_name == _CURVES.get(algorithm)
