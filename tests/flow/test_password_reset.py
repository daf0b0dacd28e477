"""Who forgot a password gets a token by the delivery, or from an operator, and sets a new password with it."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from services.runtime.errors import UnauthenticatedError
from tests.support.orders_door import PASSWORD, Caller, open_door
from tests.support.own_task import in_own_task
from tests.support.platform import run_command
from tests.support.waiting import eventually
from tests.support.webhook_receiver import WebhookReceiver, webhook_receiver
from tradeflow.orders.v1 import identity_service_pb2 as messages

SECRET = "whsec_" + base64.b64encode(b"what the mailer and orders know").decode()
TILL = "till@example.org"
NEW_PASSWORD = "another horse battery"


@pytest.fixture
async def mailer() -> AsyncIterator[WebhookReceiver]:
    async with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture
async def gateway(tmp_path: Path, mailer: WebhookReceiver) -> AsyncIterator[Caller]:
    delivery = {"password_reset_url": mailer.url, "password_reset_secret": SECRET}
    async with in_own_task(open_door(tmp_path, **delivery)) as caller:
        yield caller


async def ask(gateway: Caller, email: str) -> messages.RequestPasswordResetResponse:
    answer: messages.RequestPasswordResetResponse = await gateway(
        "RequestPasswordReset", messages.RequestPasswordResetRequest(email=email)
    )
    return answer


async def set_password(gateway: Caller, token: str, password: str = NEW_PASSWORD) -> messages.RevokedAccessToken:
    request = messages.ResetPasswordRequest(token=token, password=password)
    request.tokens_expire_at.FromJsonString("2100-01-01T00:00:00Z")
    answer: messages.ResetPasswordResponse = await gateway("ResetPassword", request)
    return answer.revoked


async def sign_in(gateway: Caller, password: str) -> messages.User:
    credentials = messages.AuthenticateRequest(email=TILL, password=password)
    answer: messages.AuthenticateResponse = await gateway("Authenticate", credentials)
    return answer.user


async def test_a_token_comes_signed_to_the_delivery_until_it_is_taken_and_sets_a_password(
    gateway: Caller, mailer: WebhookReceiver
) -> None:
    mailer.answer(503)
    await ask(gateway, TILL.upper())
    await eventually(lambda: len(mailer.received) >= 1)
    mailer.answer(204)
    await eventually(lambda: len(mailer.received) >= 2)
    refused, taken = mailer.received[0], mailer.received[-1]
    said = mailer.verified(taken, SECRET)

    revoked = await set_password(gateway, said["data"]["token"])

    assert (said["type"], said["data"]["email"]) == ("password_reset.requested", TILL)
    assert mailer.verified(refused, SECRET)["data"] == said["data"]
    assert refused.header("webhook-id") == taken.header("webhook-id")
    user = await sign_in(gateway, NEW_PASSWORD)
    assert (user.generation, revoked.token_id) == (1, f"{user.user_id}/0")
    with pytest.raises(UnauthenticatedError):
        await sign_in(gateway, PASSWORD)


async def test_the_answer_is_the_same_for_who_is_not_there_and_nothing_is_sent(
    gateway: Caller, mailer: WebhookReceiver
) -> None:
    answers = [await ask(gateway, email) for email in ("nobody@example.org", "no address", TILL)]

    await eventually(lambda: len(mailer.received) == 1)

    assert answers == [messages.RequestPasswordResetResponse(expires_in_seconds=1800)] * 3
    assert mailer.verified(mailer.received[0], SECRET)["data"]["email"] == TILL


@pytest.mark.timeout(300)
async def test_an_operator_prints_a_token_where_orders_keeps_its_users(tmp_path: Path, gateway: Caller) -> None:
    def command(email: str, *options: str) -> CompletedProcess[str]:
        where = ("--database-url", f"sqlite:///{tmp_path}/orders.db")
        return run_command("user", "reset-password", email, *where, *options, seconds_max=120)

    printed = await asyncio.to_thread(command, TILL.upper())
    nobody = await asyncio.to_thread(command, "nobody@example.org", "--json")
    await sign_in(gateway, PASSWORD)
    (token,) = printed.stdout.split()
    await set_password(gateway, token)

    assert (printed.returncode, nobody.returncode, nobody.stdout) == (0, 1, "")
    assert token not in printed.stderr
    with pytest.raises(UnauthenticatedError):
        await set_password(gateway, token)
    await sign_in(gateway, NEW_PASSWORD)
