"""Where an issuer of OpenID Connect keeps its public keys, as its own document says.

Source: OpenID Connect Discovery 1.0, sections 4.1 to 4.3.
"""

from typing import Any, Final

import httpx

from services.runtime.jwks import fetched_json

PATH: Final = "/.well-known/openid-configuration"
"""Behind the issuer's URL, whose last slash goes."""


class Discovery:
    """Finds the key set of an issuer; asked before each look at the keys, so that they may move."""

    def __init__(self, issuer: str) -> None:
        """Ask `issuer`, which is exactly the `iss` of its tokens."""
        self._issuer = issuer

    def __str__(self) -> str:
        """Tell where it looks."""
        return self._issuer.removesuffix("/") + PATH

    async def document(self, http: httpx.AsyncClient) -> dict[str, Any]:
        """Return what the issuer says of itself.

        Raises:
            httpx.HTTPError: The document can't be had.
            ValueError: It is no document of this issuer's.
        """
        document = await fetched_json(http, str(self))
        if not isinstance(document, dict) or document.get("issuer") != self._issuer:
            raise ValueError("the discovery document is of another issuer")
        return document

    async def __call__(self, http: httpx.AsyncClient) -> str:
        """Return the URL of the key set.

        Raises:
            httpx.HTTPError: The document can't be had.
            ValueError: It is no document of this issuer's, or names no place that can be trusted.
        """
        url = (await self.document(http)).get("jwks_uri")
        if not isinstance(url, str) or not is_trustworthy(url):
            raise ValueError("the discovery document names no key set at an https URL")
        return url


def is_trustworthy(url: str) -> bool:
    """Tell whether what comes from a URL is what its server sent: by https, or from this very machine."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    if parsed.scheme == "https":
        return bool(parsed.host)
    return parsed.scheme == "http" and parsed.host in {"localhost", "127.0.0.1", "::1"}
