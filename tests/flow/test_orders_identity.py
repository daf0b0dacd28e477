"""The IdentityService through its real gRPC door, as the gateway calls it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.runtime.errors import (
    ConflictError,
    ForbiddenError,
    InvalidArgumentError,
    NotFoundError,
    TradeFlowError,
    UnauthenticatedError,
)
from tests.support.issuer import running_issuer
from tests.support.orders_door import PASSWORD, Caller, open_door
from tests.support.own_task import in_own_task
from tradeflow.orders.v1 import identity_service_pb2 as messages


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Caller]:
    async with in_own_task(open_door(tmp_path)) as caller:
        yield caller


async def test_a_user_registers_signs_in_refreshes_and_leaves(gateway: Caller) -> None:
    registration = messages.RegisterRequest(email="Ann@Example.org", password=PASSWORD, role=messages.ROLE_MERCHANT)
    registered = (await gateway("Register", registration)).user
    credentials = messages.AuthenticateRequest(email="ann@example.org", password=PASSWORD)
    signed_in = (await gateway("Authenticate", credentials)).user
    started = await gateway("StartSession", messages.StartSessionRequest(user_id=registered.user_id))
    rotated = await gateway("RotateSession", messages.RotateSessionRequest(refresh_token=started.refresh_token))
    await gateway("EndSession", messages.EndSessionRequest(refresh_token=rotated.refresh_token))

    assert registered == signed_in == rotated.user
    assert list(registered.roles) == [messages.ROLE_MERCHANT]
    assert rotated.expires_at.ToSeconds() > registered.created_at.ToSeconds()
    with pytest.raises(UnauthenticatedError) as ended:
        await gateway("RotateSession", messages.RotateSessionRequest(refresh_token=rotated.refresh_token))
    assert ended.value.reason == "session_ended"


async def test_bootstrap_users_are_there(gateway: Caller) -> None:
    found = await gateway("FindUser", messages.FindUserRequest(email="till@example.org"))
    same = await gateway("FindUser", messages.FindUserRequest(user_id=found.user.user_id))

    assert list(found.user.roles) == [messages.ROLE_TREASURY]
    assert same == found


async def test_revocations_are_listed(gateway: Caller) -> None:
    request = messages.RevokeAccessTokenRequest(token_id="jti-1")
    request.expires_at.FromJsonString("2100-01-01T00:00:00Z")
    await gateway("RevokeAccessToken", request)

    listed = await gateway("ListRevokedAccessTokens", messages.ListRevokedAccessTokensRequest())

    assert [token.token_id for token in listed.tokens] == ["jti-1"]
    assert listed.tokens[0].expires_at == request.expires_at


async def test_all_sessions_end_and_the_next_generation_begins(gateway: Caller) -> None:
    user = (await gateway("FindUser", messages.FindUserRequest(email="till@example.org"))).user
    started = await gateway("StartSession", messages.StartSessionRequest(user_id=user.user_id, generation=0))
    request = messages.EndAllSessionsRequest(user_id=user.user_id)
    request.tokens_expire_at.FromJsonString("2100-01-01T00:00:00Z")

    ended = await gateway("EndAllSessions", request)
    listed = await gateway("ListRevokedAccessTokens", messages.ListRevokedAccessTokensRequest())
    later = (await gateway("FindUser", messages.FindUserRequest(email="till@example.org"))).user

    assert (user.generation, later.generation) == (0, 1)
    assert ended.revoked.token_id == f"{user.user_id}/0"
    assert list(listed.tokens) == [ended.revoked]
    with pytest.raises(UnauthenticatedError) as refused:
        await gateway("RotateSession", messages.RotateSessionRequest(refresh_token=started.refresh_token))
    assert refused.value.reason == "session_ended"
    with pytest.raises(UnauthenticatedError):
        await gateway("StartSession", messages.StartSessionRequest(user_id=user.user_id, generation=0))


def a_registration(**changes: Any) -> messages.RegisterRequest:
    return messages.RegisterRequest(
        **{"email": "bob@example.org", "password": PASSWORD, "role": messages.ROLE_BUYER, **changes}
    )


REFUSED: list[tuple[str, object, type[TradeFlowError], str]] = [
    ("Register", a_registration(email="bob"), InvalidArgumentError, "invalid_email"),
    ("Register", a_registration(password="short"), InvalidArgumentError, "invalid_password"),
    ("Register", a_registration(role=0), InvalidArgumentError, "role_missing"),
    ("Register", a_registration(role=messages.ROLE_OPERATOR), ForbiddenError, "role_not_registrable"),
    ("Register", a_registration(email="till@example.org"), ConflictError, "email_taken"),
    (
        "Authenticate",
        messages.AuthenticateRequest(email="bob@example.org", password=PASSWORD),
        UnauthenticatedError,
        "bad_credentials",
    ),
    ("StartSession", messages.StartSessionRequest(user_id="7"), NotFoundError, "user_not_found"),
    ("EndAllSessions", messages.EndAllSessionsRequest(user_id="7"), NotFoundError, "user_not_found"),
    (
        "ResetPassword",
        messages.ResetPasswordRequest(token="guessed", password=PASSWORD),
        UnauthenticatedError,
        "reset_token_unknown",
    ),
    ("ResetPassword", messages.ResetPasswordRequest(password="short"), InvalidArgumentError, "invalid_password"),
    ("RotateSession", messages.RotateSessionRequest(), UnauthenticatedError, "refresh_token_unknown"),
    ("FindUser", messages.FindUserRequest(), InvalidArgumentError, "user_not_named"),
    ("FindUser", messages.FindUserRequest(email="bob@example.org"), NotFoundError, "user_not_found"),
    ("RevokeAccessToken", messages.RevokeAccessTokenRequest(), InvalidArgumentError, "invalid_token_id"),
]


async def test_each_refusal_crosses_the_wire_as_its_own_class_and_reason(gateway: Caller) -> None:
    for method, request, error_class, reason in REFUSED:
        with pytest.raises(error_class) as refused:
            await gateway(method, request)
        assert refused.value.reason == reason, method


async def test_only_the_gateway_may_call(tmp_path: Path) -> None:
    async with running_issuer() as issuer, open_door(tmp_path) as gateway:
        foreign = Caller(stub=gateway.stub, token=issuer.service_token("ledger", "orders"))
        wrong_audience = Caller(stub=gateway.stub, token=issuer.service_token("gateway", "ledger"))
        user = Caller(stub=gateway.stub, token=issuer.user_token("gateway", ("operator",)))
        request = messages.FindUserRequest(email="till@example.org")

        with pytest.raises(ForbiddenError) as forbidden:
            await foreign("FindUser", request)
        with pytest.raises(UnauthenticatedError):
            await wrong_audience("FindUser", request)
        with pytest.raises(ForbiddenError):
            await user("FindUser", request)

    assert forbidden.value.reason == "gateway_required"
