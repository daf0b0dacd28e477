"""The gRPC door for users and sessions: only the gateway may come in."""
# ruff: noqa: N802 - the contract names the methods

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.orders.domain.external_identity import ExternalPerson
from services.orders.domain.password_reset import RESET_SECONDS
from services.orders.domain.session import SessionTimes
from services.orders.domain.user import Role, User
from services.orders.identity_ports import IdentityStore, Passwords, RevokedToken
from services.orders.use_cases.authenticate import authenticate
from services.orders.use_cases.end_all_sessions import end_all_sessions
from services.orders.use_cases.end_session import end_session
from services.orders.use_cases.find_user import find_user
from services.orders.use_cases.register_user import RegisterUser, register_user
from services.orders.use_cases.reset_password import reset_password
from services.orders.use_cases.revoke_access_token import list_revoked_access_tokens, revoke_access_token
from services.orders.use_cases.rotate_session import rotate_session
from services.orders.use_cases.sign_in_externally import sign_in_externally
from services.orders.use_cases.start_session import start_session
from services.runtime.clock import Clock, from_micros, to_micros
from services.runtime.errors import ForbiddenError, InvalidArgumentError, NotFoundError
from services.runtime.grpc_auth import service_of
from services.runtime.jwt import TokenVerifier
from tradeflow.orders.v1 import identity_service_pb2 as messages
from tradeflow.orders.v1.identity_service_pb2_grpc import IdentityServiceServicer

AUDIENCE: Final = "orders"
"""What a caller's token must be meant for."""

GATEWAY: Final = "gateway"
"""The one service that may call."""

_ROLE_MESSAGES: Final = {
    Role.BUYER: messages.ROLE_BUYER,
    Role.MERCHANT: messages.ROLE_MERCHANT,
    Role.TREASURY: messages.ROLE_TREASURY,
    Role.OPERATOR: messages.ROLE_OPERATOR,
}
_ROLES: Final[dict[int, Role]] = {message: role for role, message in _ROLE_MESSAGES.items()}

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The parts that wiring made, for the life of the process."""

    store: IdentityStore
    passwords: Passwords
    clock: Clock
    times: SessionTimes


class IdentityGrpcService(IdentityServiceServicer):
    """Answers the calls of identity_service.proto."""

    def __init__(self, identity: Identity, verifier: TokenVerifier, *, ask_for_reset: Callable[[str], None]) -> None:
        """Answer callers whose tokens `verifier` finds good; `ask_for_reset` takes an address and looks later."""
        self._ask_for_reset = ask_for_reset
        self._identity = identity
        self._verifier = verifier

    async def Register(self, request: messages.RegisterRequest, context: Context) -> messages.RegisterResponse:
        """Make a user."""
        await self._check_caller(context)
        identity = self._identity
        wanted = RegisterUser(email=request.email, password=request.password, role=_role_of(request.role))
        user = await register_user(wanted, store=identity.store, passwords=identity.passwords, clock=identity.clock)
        return messages.RegisterResponse(user=_user_message(user))

    async def Authenticate(
        self, request: messages.AuthenticateRequest, context: Context
    ) -> messages.AuthenticateResponse:
        """Check a password."""
        await self._check_caller(context)
        identity = self._identity
        user = await authenticate(request.email, request.password, store=identity.store, passwords=identity.passwords)
        return messages.AuthenticateResponse(user=_user_message(user))

    async def SignInExternally(
        self, request: messages.SignInExternallyRequest, context: Context
    ) -> messages.SignInExternallyResponse:
        """Find or make the user of a person whom another issuer vouches for."""
        await self._check_caller(context)
        identity = self._identity
        signed_in = await sign_in_externally(
            _person_of(request),
            registers_unknown=request.registers_unknown,
            tokens_expire_at=from_micros(request.tokens_expire_at.ToMicroseconds()),
            store=identity.store,
            passwords=identity.passwords,
            clock=identity.clock,
        )
        revoked = None if signed_in.revoked is None else _revoked_message(signed_in.revoked)
        return messages.SignInExternallyResponse(user=_user_message(signed_in.user), revoked=revoked)

    async def StartSession(
        self, request: messages.StartSessionRequest, context: Context
    ) -> messages.StartSessionResponse:
        """Begin a session."""
        await self._check_caller(context)
        identity = self._identity
        issued = await start_session(
            _user_id_of(request.user_id),
            generation=request.generation if request.HasField("generation") else None,
            store=identity.store,
            clock=identity.clock,
            times=identity.times,
        )
        return messages.StartSessionResponse(
            refresh_token=issued.refresh_token, expires_at=_timestamp(issued.expires_at)
        )

    async def RotateSession(
        self, request: messages.RotateSessionRequest, context: Context
    ) -> messages.RotateSessionResponse:
        """Exchange a refresh token for its successor."""
        await self._check_caller(context)
        identity = self._identity
        issued = await rotate_session(
            request.refresh_token, store=identity.store, clock=identity.clock, times=identity.times
        )
        return messages.RotateSessionResponse(
            refresh_token=issued.refresh_token,
            expires_at=_timestamp(issued.expires_at),
            user=_user_message(issued.user),
        )

    async def EndSession(self, request: messages.EndSessionRequest, context: Context) -> messages.EndSessionResponse:
        """End a session."""
        await self._check_caller(context)
        await end_session(request.refresh_token, store=self._identity.store, clock=self._identity.clock)
        return messages.EndSessionResponse()

    async def EndAllSessions(
        self, request: messages.EndAllSessionsRequest, context: Context
    ) -> messages.EndAllSessionsResponse:
        """End all sessions of a user."""
        await self._check_caller(context)
        revoked = await end_all_sessions(
            _user_id_of(request.user_id),
            from_micros(request.tokens_expire_at.ToMicroseconds()),
            store=self._identity.store,
            clock=self._identity.clock,
        )
        return messages.EndAllSessionsResponse(revoked=_revoked_message(revoked))

    async def RequestPasswordReset(
        self, request: messages.RequestPasswordResetRequest, context: Context
    ) -> messages.RequestPasswordResetResponse:
        """Take a request for a new password, whoever it is for."""
        await self._check_caller(context)
        self._ask_for_reset(request.email)
        return messages.RequestPasswordResetResponse(expires_in_seconds=RESET_SECONDS)

    async def ResetPassword(
        self, request: messages.ResetPasswordRequest, context: Context
    ) -> messages.ResetPasswordResponse:
        """Set a new password."""
        await self._check_caller(context)
        revoked = await reset_password(
            request.token,
            request.password,
            from_micros(request.tokens_expire_at.ToMicroseconds()),
            store=self._identity.store,
            passwords=self._identity.passwords,
            clock=self._identity.clock,
        )
        return messages.ResetPasswordResponse(revoked=_revoked_message(revoked))

    async def FindUser(self, request: messages.FindUserRequest, context: Context) -> messages.FindUserResponse:
        """Find a user by address or id."""
        await self._check_caller(context)
        store = self._identity.store
        match request.WhichOneof("by"):
            case "email":
                user = await find_user(email=request.email, store=store)
            case "user_id":
                user = await find_user(user_id=_user_id_of(request.user_id), store=store)
            case _:
                raise InvalidArgumentError("Name an address or an id.", reason="user_not_named")
        return messages.FindUserResponse(user=_user_message(user))

    async def RevokeAccessToken(
        self, request: messages.RevokeAccessTokenRequest, context: Context
    ) -> messages.RevokeAccessTokenResponse:
        """Remember that an access token is revoked."""
        await self._check_caller(context)
        identity = self._identity
        expires_at = from_micros(request.expires_at.ToMicroseconds())
        await revoke_access_token(request.token_id, expires_at, store=identity.store, clock=identity.clock)
        return messages.RevokeAccessTokenResponse()

    async def ListRevokedAccessTokens(
        self,
        request: messages.ListRevokedAccessTokensRequest,  # noqa: ARG002 - the contract's signature
        context: Context,
    ) -> messages.ListRevokedAccessTokensResponse:
        """List the revoked access tokens that have not expired yet."""
        await self._check_caller(context)
        tokens = await list_revoked_access_tokens(store=self._identity.store, clock=self._identity.clock)
        return messages.ListRevokedAccessTokensResponse(tokens=[_revoked_message(token) for token in tokens])

    async def _check_caller(self, context: Context) -> None:
        """Let the gateway pass, with a token for this service.

        Raises:
            UnauthenticatedError: No token, or not a good one.
            ForbiddenError: Somebody else's.
        """
        service = await service_of(context, self._verifier)
        if service.subject != GATEWAY or service.audience != AUDIENCE:
            raise ForbiddenError("Only the gateway may call this.", reason="gateway_required")


def _role_of(message: int) -> Role:
    role = _ROLES.get(message)
    if role is None:
        raise InvalidArgumentError("Name a role.", reason="role_missing")
    return role


def _person_of(request: messages.SignInExternallyRequest) -> ExternalPerson:
    return ExternalPerson(
        issuer=request.issuer,
        subject=request.subject,
        verified_email=request.verified_email,
        roles=frozenset(_role_of(role) for role in request.roles),
    )


def _user_id_of(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFoundError("There is no such user.", reason="user_not_found") from error


def _user_message(user: User) -> messages.User:
    return messages.User(
        user_id=str(user.user_id),
        email=user.email,
        roles=[_ROLE_MESSAGES[role] for role in sorted(user.roles, key=lambda role: role.value)],
        created_at=_timestamp(user.created_at),
        generation=user.generation,
    )


def _revoked_message(token: RevokedToken) -> messages.RevokedAccessToken:
    return messages.RevokedAccessToken(token_id=token.token_id, expires_at=_timestamp(token.expires_at))


def _timestamp(instant: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromMicroseconds(to_micros(instant))
    return timestamp
