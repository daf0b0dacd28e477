"""An IdentityService for the gateway's tests: a real gRPC server whose users and sessions live in memory."""
# ruff: noqa: N802 - the contract names the methods

import secrets
from datetime import timedelta
from typing import Any
from uuid import uuid4

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.runtime.clock import Clock
from services.runtime.errors import ConflictError, ForbiddenError, NotFoundError, UnauthenticatedError, UnavailableError
from services.runtime.grpc_auth import service_of
from services.runtime.jwt import TokenVerifier
from tradeflow.orders.v1 import identity_service_pb2 as identity
from tradeflow.orders.v1.identity_service_pb2_grpc import IdentityServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class IdentityStandIn(IdentityServiceServicer):
    """Does what the contract says, as simply as it can."""

    def __init__(self, verifier: TokenVerifier, clock: Clock) -> None:
        """Let in whose tokens `verifier` accepts, if they are the gateway's."""
        self._verifier = verifier
        self._clock = clock
        self.users: dict[str, identity.User] = {}
        self.passwords: dict[str, str] = {}
        self.sessions: dict[str, str] = {}
        """User ids by live refresh tokens."""
        self.externals: dict[tuple[str, str], str] = {}
        """Addresses by the issuer and the subject of whom they are."""
        self.used: dict[str, str] = {}
        self.generations: dict[str, int] = {}
        self.forgotten: list[str] = []
        self.resets: dict[str, str] = {}
        """Addresses by the tokens that set their passwords."""
        self.revoked: dict[str, Timestamp] = {}
        self.calls: list[str] = []
        self.is_down = False

    def add_user(self, email: str, *roles: identity.Role.ValueType) -> identity.User:
        """Make a user whose password is "password"."""
        user = identity.User(user_id=str(uuid4()), email=email, roles=list(roles), created_at=self._timestamp())
        self.users[email] = user
        self.passwords[email] = "password"
        return user

    async def Register(self, request: identity.RegisterRequest, context: Context) -> identity.RegisterResponse:
        await self._let_in("Register", context)
        if request.email in self.users:
            raise ConflictError("The address has a user.", reason="email_taken")
        user = self.add_user(request.email, request.role)
        self.passwords[request.email] = request.password
        return identity.RegisterResponse(user=user)

    async def Authenticate(
        self, request: identity.AuthenticateRequest, context: Context
    ) -> identity.AuthenticateResponse:
        await self._let_in("Authenticate", context)
        if self.passwords.get(request.email) != request.password:
            raise UnauthenticatedError("Wrong address or password.", reason="bad_credentials")
        return identity.AuthenticateResponse(user=self.users[request.email])

    async def SignInExternally(
        self, request: identity.SignInExternallyRequest, context: Context
    ) -> identity.SignInExternallyResponse:
        await self._let_in("SignInExternally", context)
        person = (request.issuer, request.subject)
        if person in self.externals:
            return identity.SignInExternallyResponse(user=self.users[self.externals[person]])
        if not request.verified_email:
            raise ForbiddenError("The address isn't verified.", reason="email_not_verified")
        self.externals[person] = request.verified_email
        account = self.users.get(request.verified_email)
        if account is not None:
            self.passwords.pop(request.verified_email)
            revoked = self._end_generation_of(account.user_id, request.tokens_expire_at)
            return identity.SignInExternallyResponse(user=account, revoked=revoked)
        if not request.registers_unknown:
            raise ForbiddenError("Nobody is registered.", reason="user_not_registered")
        user = self.add_user(request.verified_email, *request.roles)
        return identity.SignInExternallyResponse(user=user)

    async def StartSession(
        self, request: identity.StartSessionRequest, context: Context
    ) -> identity.StartSessionResponse:
        await self._let_in("StartSession", context)
        return identity.StartSessionResponse(
            refresh_token=self._refresh_token(request.user_id), expires_at=self._timestamp(86_400)
        )

    async def RotateSession(
        self, request: identity.RotateSessionRequest, context: Context
    ) -> identity.RotateSessionResponse:
        await self._let_in("RotateSession", context)
        if request.refresh_token in self.used:
            self._end_sessions_of(self.used[request.refresh_token])
            raise UnauthenticatedError("The token was used.", reason="refresh_token_reused")
        user_id = self.sessions.pop(request.refresh_token, None)
        if user_id is None:
            raise UnauthenticatedError("Unknown token.", reason="refresh_token_invalid")
        self.used[request.refresh_token] = user_id
        return identity.RotateSessionResponse(
            refresh_token=self._refresh_token(user_id),
            expires_at=self._timestamp(86_400),
            user=next(user for user in self.users.values() if user.user_id == user_id),
        )

    async def EndSession(self, request: identity.EndSessionRequest, context: Context) -> identity.EndSessionResponse:
        await self._let_in("EndSession", context)
        user_id = self.sessions.get(request.refresh_token)
        if user_id is not None:
            self._end_sessions_of(user_id)
        return identity.EndSessionResponse()

    async def EndAllSessions(
        self, request: identity.EndAllSessionsRequest, context: Context
    ) -> identity.EndAllSessionsResponse:
        await self._let_in("EndAllSessions", context)
        revoked = self._end_generation_of(request.user_id, request.tokens_expire_at)
        return identity.EndAllSessionsResponse(revoked=revoked)

    async def RequestPasswordReset(
        self, request: identity.RequestPasswordResetRequest, context: Context
    ) -> identity.RequestPasswordResetResponse:
        await self._let_in("RequestPasswordReset", context)
        self.forgotten.append(request.email)
        return identity.RequestPasswordResetResponse(expires_in_seconds=1800)

    async def ResetPassword(
        self, request: identity.ResetPasswordRequest, context: Context
    ) -> identity.ResetPasswordResponse:
        await self._let_in("ResetPassword", context)
        email = self.resets.pop(request.token, None)
        if email is None:
            raise UnauthenticatedError("Unknown token.", reason="reset_token_unknown")
        self.passwords[email] = request.password
        revoked = self._end_generation_of(self.users[email].user_id, request.tokens_expire_at)
        return identity.ResetPasswordResponse(revoked=revoked)

    async def FindUser(self, request: identity.FindUserRequest, context: Context) -> identity.FindUserResponse:
        await self._let_in("FindUser", context)
        for user in self.users.values():
            if request.email == user.email or request.user_id == user.user_id:
                return identity.FindUserResponse(user=user)
        raise NotFoundError("No such user.", reason="user_not_found")

    async def RevokeAccessToken(
        self, request: identity.RevokeAccessTokenRequest, context: Context
    ) -> identity.RevokeAccessTokenResponse:
        await self._let_in("RevokeAccessToken", context)
        self.revoked[request.token_id] = request.expires_at
        return identity.RevokeAccessTokenResponse()

    async def ListRevokedAccessTokens(
        self, _request: identity.ListRevokedAccessTokensRequest, context: Context
    ) -> identity.ListRevokedAccessTokensResponse:
        await self._let_in("ListRevokedAccessTokens", context)
        tokens = [
            identity.RevokedAccessToken(token_id=token_id, expires_at=expires_at)
            for token_id, expires_at in self.revoked.items()
        ]
        return identity.ListRevokedAccessTokensResponse(tokens=tokens)

    async def _let_in(self, call: str, context: Context) -> None:
        if self.is_down:
            raise UnavailableError("Away.")
        service = await service_of(context, self._verifier)
        if service.subject != "gateway":
            raise ForbiddenError("Only the gateway calls this.")
        self.calls.append(call)

    def _refresh_token(self, user_id: str) -> str:
        token = secrets.token_urlsafe(32)
        self.sessions[token] = user_id
        return token

    def _end_generation_of(self, user_id: str, tokens_expire_at: Timestamp) -> identity.RevokedAccessToken:
        self._end_sessions_of(user_id)
        ended = self.generations.get(user_id, 0)
        self.generations[user_id] = ended + 1
        for user in self.users.values():
            user.generation = self.generations.get(user.user_id, 0)
        self.revoked[f"{user_id}/{ended}"] = tokens_expire_at
        return identity.RevokedAccessToken(token_id=f"{user_id}/{ended}", expires_at=tokens_expire_at)

    def _end_sessions_of(self, user_id: str) -> None:
        self.sessions = {token: owner for token, owner in self.sessions.items() if owner != user_id}

    def _timestamp(self, seconds_from_now: float = 0) -> Timestamp:
        timestamp = Timestamp()
        timestamp.FromDatetime(self._clock.now() + timedelta(seconds=seconds_from_now))
        return timestamp
