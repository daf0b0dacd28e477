"""The Idempotency-Key header: the caller's name for an effect, so that asking again has it once.

Source: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/ (which quotes the key as a
structured field; here any visible ASCII is taken as it is).
"""

import re
from typing import Annotated, Any

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import HeaderParameter

from services.runtime.errors import InvalidArgumentError
from services.runtime.http_auth import Caller

HEADER = "Idempotency-Key"
"""The request's header."""

REPLAYED_HEADER = "Idempotency-Replayed"
"""`true` on an answer that was given before."""

KEY_CHARACTERS_MAX = 128
"""A bound on what is stored for each effect; a UUID takes 36."""

IdempotencyKey = NamedDependency[str]
"""The type of a handler's parameter that must be called `idempotency_key`. Its route has to ask for a token: a key is a
caller's."""

_VISIBLE_ASCII = re.compile(rf"[!-~]{{1,{KEY_CHARACTERS_MAX}}}")


def idempotency_key_of(request: Request[Any, Any, Any]) -> str:
    """Return the request's key.

    Raises:
        InvalidArgumentError: There is none (idempotency_key_missing), more than one, or one that isn't 1 to 128
            visible ASCII characters (idempotency_key_malformed).
    """
    keys = request.headers.getall(HEADER, [])
    if not keys:
        raise InvalidArgumentError(
            f"This needs the header {HEADER}, so that repeating it is safe.", reason="idempotency_key_missing"
        )
    if len(keys) > 1 or not _VISIBLE_ASCII.fullmatch(keys[0]):
        raise InvalidArgumentError(
            f"{HEADER} must be one value of 1 to {KEY_CHARACTERS_MAX} visible ASCII characters.",
            reason="idempotency_key_malformed",
        )
    return keys[0]


def provide_idempotency_key(
    request: Request[Any, Any, Any],
    principal: Caller,  # noqa: ARG001 - of two dependencies that don't need each other Litestar makes a task each
    idempotency_key_header: Annotated[  # noqa: ARG001 - it is here for the API's description
        str | None,
        HeaderParameter(
            name=HEADER,
            description=f"1 to {KEY_CHARACTERS_MAX} visible ASCII characters; required. Repeating a request with the "
            "same key and the same content has its effect once and gets the first answer again.",
        ),
    ] = None,
) -> str:
    """Give the key to a handler that has a parameter `idempotency_key: IdempotencyKey`."""
    return idempotency_key_of(request)
