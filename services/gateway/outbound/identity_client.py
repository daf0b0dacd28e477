"""Users and sessions, asked of the orders service."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Literal, TypeVar

import grpc
import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from services.gateway.access_tokens import OwnServiceTokens
from services.gateway.ports import ExternalPerson, RevokedToken, Session, User
from services.runtime.clock import EPOCH
from services.runtime.errors import RejectedError, UnavailableError
from services.runtime.grpc_auth import call_metadata
from services.runtime.grpc_errors import translating_errors
from tradeflow.orders.v1 import identity_service_pb2 as identity
from tradeflow.orders.v1.identity_service_pb2_grpc import IdentityServiceStub

logger = structlog.get_logger(__name__)

AUDIENCE = "orders"
"""For whom the gateway's tokens are, here."""

T = TypeVar("T")

_ROLES = {
    identity.ROLE_BUYER: "buyer",
    identity.ROLE_MERCHANT: "merchant",
    identity.ROLE_TREASURY: "treasury",
    identity.ROLE_OPERATOR: "operator",
}
_ROLE_MESSAGES = {name: message for message, name in _ROLES.items()}


class IdentityClient:
    """Fits `Identities` and `RevocationList`; every call has a deadline and none is retried here."""

    def __init__(self, channel: grpc.aio.Channel, tokens: OwnServiceTokens, *, call_seconds_max: float) -> None:
        """Call over `channel`."""
        self._stub = IdentityServiceStub(channel)
        self._tokens = tokens
        self._call_seconds_max = call_seconds_max

    async def register(self, *, email: str, password: str, role: Literal["buyer", "merchant"]) -> User:
        """Make a user."""
        chosen = identity.ROLE_MERCHANT if role == "merchant" else identity.ROLE_BUYER
        request = identity.RegisterRequest(email=email, password=password, role=chosen)
        return _user((await self._call(self._stub.Register, request)).user)

    async def sign_in(self, *, email: str, password: str) -> Session:
        """Check a password and begin a session."""
        request = identity.AuthenticateRequest(email=email, password=password)
        return await self._begin_session(_user((await self._call(self._stub.Authenticate, request)).user))

    async def sign_in_externally(
        self, person: ExternalPerson, *, tokens_expire_at: datetime
    ) -> tuple[Session, RevokedToken | None]:
        """Begin a session of a person's user; return it, and what stands for tokens that ended by it."""
        request = identity.SignInExternallyRequest(
            issuer=person.issuer,
            subject=person.subject,
            verified_email=person.verified_email,
            roles=[_ROLE_MESSAGES[role] for role in person.roles],
            registers_unknown=person.registers_unknown,
            tokens_expire_at=_timestamp(tokens_expire_at),
        )
        answer = await self._call(self._stub.SignInExternally, request)
        session = await self._begin_session(_user(answer.user))
        return session, _revoked(answer.revoked) if answer.HasField("revoked") else None

    async def refresh(self, refresh_token: str) -> Session:
        """Exchange a refresh token for its successor."""
        request = identity.RotateSessionRequest(refresh_token=refresh_token)
        rotated = await self._call(self._stub.RotateSession, request)
        return Session(refresh_token=rotated.refresh_token, user=_user(rotated.user))

    async def end_session(self, refresh_token: str) -> None:
        """End a session."""
        await self._call(self._stub.EndSession, identity.EndSessionRequest(refresh_token=refresh_token))

    async def find_user_by_email(self, email: str) -> User:
        """Find a user."""
        return _user((await self._call(self._stub.FindUser, identity.FindUserRequest(email=email))).user)

    async def find_user_by_id(self, user_id: str) -> User:
        """Find a user."""
        return _user((await self._call(self._stub.FindUser, identity.FindUserRequest(user_id=user_id))).user)

    async def revoke_access_token(self, token: RevokedToken) -> None:
        """Remember a revocation until the token would have expired."""
        request = identity.RevokeAccessTokenRequest(token_id=token.token_id, expires_at=_timestamp(token.expires_at))
        await self._call(self._stub.RevokeAccessToken, request)

    async def request_password_reset(self, email: str) -> int:
        """Ask for a token for a new password, whether there is such a user or not; return the seconds one is good."""
        request = identity.RequestPasswordResetRequest(email=email)
        return int((await self._call(self._stub.RequestPasswordReset, request)).expires_in_seconds)

    async def reset_password(self, *, token: str, password: str, tokens_expire_at: datetime) -> RevokedToken:
        """Set a new password and end all sessions; return what stands for every access token issued until now."""
        until = _timestamp(tokens_expire_at)
        request = identity.ResetPasswordRequest(token=token, password=password, tokens_expire_at=until)
        return _revoked((await self._call(self._stub.ResetPassword, request)).revoked)

    async def end_all_sessions(self, user_id: str, *, tokens_expire_at: datetime) -> RevokedToken:
        """End all sessions of a user, and return what stands for every access token issued until now."""
        request = identity.EndAllSessionsRequest(user_id=user_id, tokens_expire_at=_timestamp(tokens_expire_at))
        return _revoked((await self._call(self._stub.EndAllSessions, request)).revoked)

    async def list_revoked_access_tokens(self) -> list[RevokedToken]:
        """Return all that have not expired."""
        request = identity.ListRevokedAccessTokensRequest()
        answer = await self._call(self._stub.ListRevokedAccessTokens, request)
        return [_revoked(token) for token in answer.tokens]

    async def _begin_session(self, user: User) -> Session:
        begun = identity.StartSessionRequest(user_id=user.user_id, generation=user.generation)
        started = await self._call(self._stub.StartSession, begun)
        return Session(refresh_token=started.refresh_token, user=user)

    async def _call(self, method: Callable[..., Awaitable[T]], request: Any) -> T:
        metadata = call_metadata(await self._tokens.token_for(AUDIENCE))
        try:
            with translating_errors():
                return await method(request, metadata=metadata, timeout=self._call_seconds_max)
        except RejectedError as error:
            if not _is_about_us(error):
                raise
            logger.error("own_token_refused", reason=error.reason)  # noqa: TRY400 - where it was refused is no news
            raise UnavailableError("Nobody can be signed in right now.", reason="gateway_not_trusted") from error


def _is_about_us(error: RejectedError) -> bool:
    """Tell whether it is the gateway's own token that orders refuses: no user is to be signed out for that."""
    return error.reason.startswith("token_") or error.reason in {"service_required", "gateway_required"}


def _timestamp(instant: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(instant)
    return timestamp


def _revoked(token: identity.RevokedAccessToken) -> RevokedToken:
    return RevokedToken(token_id=token.token_id, expires_at=token.expires_at.ToDatetime(tzinfo=EPOCH.tzinfo))


def _user(user: identity.User) -> User:
    return User(
        user_id=user.user_id,
        email=user.email,
        roles=tuple(_ROLES[role] for role in user.roles if role in _ROLES),
        created_at=user.created_at.ToDatetime(tzinfo=EPOCH.tzinfo),
        generation=user.generation,
    )
