"""Registration, sign-in, refresh, sign-out, and tickets for WebSockets."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, post
from litestar.datastructures import CacheControlHeader
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from services.gateway.access_tokens import TokenIssuer
from services.gateway.door import require_user
from services.gateway.inbound.rate_limits import RATE_LIMITED, ROUTE_CLASS_OPTION
from services.gateway.inbound.sign_ins import SignIns
from services.gateway.ports import Identities, RevokedToken, Session, TicketStore
from services.gateway.revocation import Revocations
from services.runtime.http_auth import PUBLIC, Caller
from services.runtime.http_openapi import problem_responses

TAGS = ["sign-in"]
"""The group in the API's description."""

SIGN_IN = {ROUTE_CLASS_OPTION: "auth", **PUBLIC}
"""What password guessing meets: a limit per address."""

RENEWAL = {ROUTE_CLASS_OPTION: "write", **PUBLIC}
"""What has a session already, and nothing that can be guessed, meets the limits of all calls of an address, and not the
one of sign-ins: those who share an address would use that up by staying signed in."""

NO_STORE = CacheControlHeader(no_store=True)
"""On every answer with a token or a ticket (RFC 6749, section 5.1)."""

Email = Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
RefreshToken = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class Registration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new user."""

    email: Email
    password: Annotated[str, msgspec.Meta(min_length=8, max_length=256)]
    role: Literal["buyer", "merchant"]


class UserBody(msgspec.Struct, frozen=True):
    """A user."""

    user_id: str
    email: str
    roles: list[str]
    created_at: datetime


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sign-in."""

    email: Email
    password: Password


class RefreshBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A refresh token to exchange or to end."""

    refresh_token: RefreshToken


class TokensBody(msgspec.Struct, frozen=True):
    """What a client keeps while it is signed in."""

    access_token: str
    """For the Authorization header."""
    refresh_token: str
    """Good once, for the next pair."""
    token_type: str
    """Bearer."""
    expires_in: int
    """Seconds that the access token is good."""


class TicketBody(msgspec.Struct, frozen=True):
    """A ticket for one connection."""

    ticket: str
    expires_in: int


def auth_routes(
    *,
    identities: Identities,
    sign_ins: SignIns,
    issuer: TokenIssuer,
    revocations: Revocations,
    tickets: TicketStore,
    ticket_seconds: int,
) -> list[HTTPRouteHandler]:
    """Make the routes."""
    return [
        *_sign_in_routes(identities, sign_ins, issuer),
        *_signed_in_routes(identities, revocations, tickets, ticket_seconds),
    ]


def _sign_in_routes(identities: Identities, sign_ins: SignIns, issuer: TokenIssuer) -> list[HTTPRouteHandler]:
    """Make the routes of who has no access token."""

    @post(
        "/auth/register",
        operation_id="register",
        tags=TAGS,
        opt=SIGN_IN,
        response_description="The new user",
        responses=problem_responses(
            {
                **RATE_LIMITED,
                400: "validation_failed, malformed_json, invalid_email, invalid_password",
                403: "role_not_registrable",
                409: "email_taken",
            }
        ),
    )
    async def register(data: JSONBody[Registration]) -> UserBody:
        """Make a user who buys or sells. 409 email_taken when the address has one."""
        user = await identities.register(email=data.email, password=data.password, role=data.role)
        return UserBody(user_id=user.user_id, email=user.email, roles=list(user.roles), created_at=user.created_at)

    @post(
        "/auth/login",
        operation_id="login",
        tags=TAGS,
        opt=SIGN_IN,
        status_code=200,
        cache_control=NO_STORE,
        responses=problem_responses({**RATE_LIMITED, 401: "bad_credentials"}),
    )
    async def login(request: Request[Any, Any, Any], data: JSONBody[Login]) -> TokensBody:
        """Sign in. 401 bad_credentials for an unknown address and a wrong password alike; 429 after many of them."""
        session = await sign_ins.sign_in(request.scope, email=data.email, password=data.password)
        return tokens_body(issuer, session)

    @post(
        "/auth/refresh",
        operation_id="refresh",
        tags=TAGS,
        opt=RENEWAL,
        status_code=200,
        cache_control=NO_STORE,
        responses=problem_responses(
            {**RATE_LIMITED, 401: "refresh_token_unknown, refresh_token_reused, session_ended: sign in again"}
        ),
    )
    async def refresh(data: JSONBody[RefreshBody]) -> TokensBody:
        """Exchange a refresh token for a new pair. 401 refresh_token_reused ends the whole session."""
        return tokens_body(issuer, await identities.refresh(data.refresh_token))

    return [register, login, refresh]


def _signed_in_routes(
    identities: Identities, revocations: Revocations, tickets: TicketStore, ticket_seconds: int
) -> list[HTTPRouteHandler]:
    """Make the routes of who has one."""

    @post(
        "/auth/logout",
        operation_id="logout",
        tags=TAGS,
        opt={ROUTE_CLASS_OPTION: "auth"},
        status_code=204,
        responses=problem_responses(RATE_LIMITED),
    )
    async def logout(data: JSONBody[RefreshBody], principal: Caller) -> None:
        """End the session, and revoke the access token that this call was made with."""
        await identities.end_session(data.refresh_token)
        await revocations.revoke(RevokedToken(token_id=principal.token_id, expires_at=principal.expires_at))

    @post(
        "/auth/logout-everywhere",
        operation_id="logoutEverywhere",
        tags=TAGS,
        opt={ROUTE_CLASS_OPTION: "auth"},
        status_code=204,
        responses=problem_responses({**RATE_LIMITED, 503: "sign-out can't be made sure of now: try again"}),
    )
    async def logout_everywhere(principal: Caller) -> None:
        """End all sessions of the caller, and revoke every access token issued until now, this one included."""
        await revocations.revoke_all(require_user(principal).subject)

    @post(
        "/auth/ticket",
        operation_id="issueTicket",
        tags=TAGS,
        opt={ROUTE_CLASS_OPTION: "socket"},
        response_description="The ticket",
        responses=problem_responses(RATE_LIMITED),
    )
    async def issue_ticket(principal: Caller) -> Response[TicketBody]:
        """Exchange the token for a ticket that opens one WebSocket or event stream, once and soon."""
        ticket = await tickets.issue(require_user(principal).token, lifetime_seconds=ticket_seconds)
        return Response(TicketBody(ticket=ticket, expires_in=ticket_seconds), headers={"Cache-Control": "no-store"})

    return [logout, logout_everywhere, issue_ticket]


def tokens_body(issuer: TokenIssuer, session: Session) -> TokensBody:
    """Issue an access token to who has just begun or renewed a session."""
    issued = issuer.user_token(
        user_id=session.user.user_id, roles=session.user.roles, generation=session.user.generation
    )
    return TokensBody(
        access_token=issued.token,
        refresh_token=session.refresh_token,
        token_type="Bearer",  # noqa: S106 (the name of a scheme)
        expires_in=issued.expires_in_seconds,
    )
