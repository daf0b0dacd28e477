"""Who may call what at the ledger's doors: each command and read by each caller."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
from joserfc.jwk import RSAKey

from services.runtime.grpc_auth import AUTHORIZATION, USER_AUTHORIZATION, call_metadata
from services.runtime.grpc_errors import error_of
from tests.support.ledger import (
    LedgerWorld,
    a_capture,
    a_commit,
    a_deposit,
    a_refund,
    a_reserve,
    a_void,
    ledger_world,
)
from tradeflow.ledger.v1 import commands_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages

Metadata = tuple[tuple[str, str], ...]
Call = Callable[[LedgerWorld, Metadata], Awaitable[object]]

OWNER, STRANGER, SELLER = uuid4(), uuid4(), uuid4()


def _reserve(world: LedgerWorld) -> commands_pb2.ReserveFunds:
    return a_reserve(OWNER, 1, hold_id=uuid4(), expires_at=world.in_seconds(60))


COMMANDS: dict[str, Call] = {
    "open_account": lambda world, metadata: world.stub.OpenAccount(
        messages.OpenAccountRequest(
            command=commands_pb2.OpenAccount(idempotency_key=str(uuid4()), wallet_id=str(OWNER), currency="EUR")
        ),
        metadata=metadata,
    ),
    "deposit": lambda world, metadata: world.stub.Deposit(
        messages.DepositRequest(command=a_deposit(OWNER, 100)), metadata=metadata
    ),
    "reserve": lambda world, metadata: world.stub.ReserveFunds(
        messages.ReserveFundsRequest(command=_reserve(world)), metadata=metadata
    ),
    "commit": lambda world, metadata: world.stub.CommitHold(
        messages.CommitHoldRequest(command=a_commit(OWNER, uuid4())), metadata=metadata
    ),
    "capture": lambda world, metadata: world.stub.CaptureFunds(
        messages.CaptureFundsRequest(command=a_capture(OWNER, uuid4(), {SELLER: 1})), metadata=metadata
    ),
    "void": lambda world, metadata: world.stub.VoidHold(
        messages.VoidHoldRequest(command=a_void(OWNER, uuid4())), metadata=metadata
    ),
    "refund": lambda world, metadata: world.stub.RefundCapture(
        messages.RefundCaptureRequest(command=a_refund(OWNER, uuid4(), {SELLER: 1})), metadata=metadata
    ),
}
READS: dict[str, Call] = {
    "balance": lambda world, metadata: world.stub.GetBalance(
        messages.GetBalanceRequest(wallet_id=str(OWNER), currency="EUR"), metadata=metadata
    ),
    "statement": lambda world, metadata: world.stub.ListStatement(
        messages.ListStatementRequest(wallet_id=str(OWNER), currency="EUR"), metadata=metadata
    ),
    "events": lambda world, metadata: world.stub.ListWalletEvents(
        messages.ListWalletEventsRequest(wallet_id=str(OWNER)), metadata=metadata
    ),
}
ALL_CALLS = {**COMMANDS, **READS}
PASSED_THE_DOOR = {"hold_not_found", "capture_not_found", ""}
"""The command's own guards spoke, or it was done."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LedgerWorld]:
    async with ledger_world(tmp_path) as running:
        await running.deposit(OWNER, 1_000)
        yield running


async def answers(world: LedgerWorld, calls: dict[str, Call], metadata: Metadata) -> dict[str, str]:
    return {name: await reason_of(call(world, metadata)) for name, call in calls.items()}


async def reason_of(call: Awaitable[object]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error_of(error).reason
    return ""


async def test_orders_may_do_everything_with_the_users_token(world: LedgerWorld) -> None:
    assert set((await answers(world, ALL_CALLS, world.orders(OWNER))).values()) <= PASSED_THE_DOOR


async def test_orders_may_do_everything_without_a_user_but_reserve(world: LedgerWorld) -> None:
    reasons = await answers(world, ALL_CALLS, world.orders())

    assert reasons.pop("reserve") == "user_token_required"
    assert set(reasons.values()) <= PASSED_THE_DOOR


async def test_the_treasury_may_open_accounts_deposit_and_read(world: LedgerWorld) -> None:
    reasons = await answers(world, ALL_CALLS, world.service("treasury", OWNER))

    assert {name for name, reason in reasons.items() if reason == ""} == {"open_account", "deposit", *READS}
    assert {reason for reason in reasons.values() if reason} == {"command_not_allowed"}


async def test_the_gateway_may_only_read(world: LedgerWorld) -> None:
    reasons = await answers(world, ALL_CALLS, world.service("gateway", OWNER))

    assert reasons == {**dict.fromkeys(COMMANDS, "command_not_allowed"), **dict.fromkeys(READS, "")}


async def test_a_user_who_does_not_own_the_wallet_neither_reserves_nor_reads(world: LedgerWorld) -> None:
    reasons = await answers(world, {"reserve": COMMANDS["reserve"], **READS}, world.orders(STRANGER))

    assert set(reasons.values()) == {"not_wallet_owner"}


async def test_a_batch_reserves_only_what_the_user_owns(world: LedgerWorld) -> None:
    request = messages.ExecuteBatchRequest(commands=[commands_pb2.Command(reserve_funds=_reserve(world))])

    owner = await world.stub.ExecuteBatch(request, metadata=world.orders(OWNER))
    stranger = await world.stub.ExecuteBatch(request, metadata=world.orders(STRANGER))
    nobody = await world.stub.ExecuteBatch(request, metadata=world.orders())

    assert owner.outcomes[0].HasField("receipt")
    assert stranger.outcomes[0].problem.reason == "not_wallet_owner"
    assert nobody.outcomes[0].problem.reason == "user_token_required"


async def test_a_users_token_alone_opens_no_door_for_services(world: LedgerWorld) -> None:
    as_user = call_metadata(world.issuer.user_token(OWNER))

    assert set((await answers(world, ALL_CALLS, as_user)).values()) == {"service_token_required"}


async def test_a_service_is_no_user(world: LedgerWorld) -> None:
    disguised = call_metadata(world.issuer.service_token(), user_token=world.issuer.service_token(str(OWNER)))

    assert set((await answers(world, ALL_CALLS, disguised)).values()) == {"user_token_required"}


@pytest.mark.parametrize("field", [AUTHORIZATION, USER_AUTHORIZATION])
async def test_a_token_that_is_not_good_is_refused_with_the_reason(world: LedgerWorld, field: str) -> None:
    now = int(world.clock.now().timestamp())
    issuer = world.issuer
    mint = issuer.service_token if field == AUTHORIZATION else partial(issuer.user_token, OWNER)
    foreign_key = RSAKey.generate_key(2048, {"kid": "test-key"}, private=True)
    good = world.issuer.service_token()
    tokens = {
        "token_expired": mint(exp=now - 60),
        "token_not_yet_valid": mint(nbf=now + 600),
        "token_wrong_issuer": mint(iss="https://elsewhere.test"),
        "token_wrong_audience": mint(aud="orders"),
        "token_forged": issuer.mint({"sub": "orders"}, key=foreign_key),
        "token_malformed": "nonsense",
    }

    reasons = {}
    for reason, token in tokens.items():
        metadata = {AUTHORIZATION: f"Bearer {good}", field: f"Bearer {token}"}
        reasons[reason] = await reason_of(READS["balance"](world, tuple(metadata.items())))

    assert reasons == {reason: reason for reason in tokens}


async def test_a_call_without_a_token_is_unauthenticated(world: LedgerWorld) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await READS["balance"](world, ())

    assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert error_of(refusal.value).reason == "token_missing"
