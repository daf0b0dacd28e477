"""Who calls over gRPC: the service by `authorization`, and the user it works for by `x-user-authorization`."""

from typing import Any

import grpc

from services.runtime.errors import ForbiddenError
from services.runtime.grpc_surroundings import metadata_value
from services.runtime.jwt import Principal, TokenVerifier, bearer_token
from services.runtime.tracing import HEADER, current_traceparent

AUTHORIZATION = "authorization"
"""The caller's own token."""

USER_AUTHORIZATION = "x-user-authorization"
"""The token of the user for whom a service calls."""


async def principal_of(context: grpc.aio.ServicerContext[Any, Any], verifier: TokenVerifier) -> Principal:
    """Return who calls.

    Raises:
        UnauthenticatedError: No token, or not a good one.
    """
    return await verifier.verify(bearer_token(metadata_value(context, AUTHORIZATION)))


async def service_of(context: grpc.aio.ServicerContext[Any, Any], verifier: TokenVerifier) -> Principal:
    """Return which service calls.

    Raises:
        UnauthenticatedError: No token, or not a good one.
        ForbiddenError: A good token that isn't a service's.
    """
    principal = await principal_of(context, verifier)
    if not principal.is_service:
        raise ForbiddenError("Only services may call this.", reason="service_required")
    return principal


async def user_of(context: grpc.aio.ServicerContext[Any, Any], verifier: TokenVerifier) -> Principal | None:
    """Return the user for whom the caller works, or None when it works for itself.

    Raises:
        UnauthenticatedError: There is a token, and it isn't good.
    """
    authorization = metadata_value(context, USER_AUTHORIZATION)
    return None if authorization is None else await verifier.verify(bearer_token(authorization))


async def callers_of(
    context: grpc.aio.ServicerContext[Any, Any], verifier: TokenVerifier
) -> tuple[Principal, Principal | None]:
    """Return who calls, and the user for whom; as `principal_of` and `user_of`, with one look at the metadata.

    Raises:
        UnauthenticatedError: There is no token of the caller, or a token isn't good.
    """
    authorization, user_authorization = None, None
    for name, value in context.invocation_metadata() or ():
        if name == AUTHORIZATION and authorization is None:
            authorization = value
        elif name == USER_AUTHORIZATION and user_authorization is None:
            user_authorization = value
    principal = await verifier.verify(bearer_token(_text(authorization)))
    if user_authorization is None:
        return principal, None
    return principal, await verifier.verify(bearer_token(_text(user_authorization)))


def call_metadata(token: str, *, user_token: str | None = None) -> tuple[tuple[str, str], ...]:
    """Build the metadata of a call: who calls, for whom, and in which trace."""
    metadata = [(AUTHORIZATION, f"Bearer {token}")]
    if user_token is not None:
        metadata.append((USER_AUTHORIZATION, f"Bearer {user_token}"))
    traceparent = current_traceparent()
    if traceparent:
        metadata.append((HEADER, traceparent))
    return tuple(metadata)


def _text(value: str | bytes | None) -> str | None:
    return value if isinstance(value, str) else None
