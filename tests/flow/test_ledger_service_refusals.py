"""Each refusal of the gRPC door: its code, and the reason that programs branch on."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from services.runtime.grpc_errors import error_of
from tests.support.ledger import (
    LedgerWorld,
    a_capture,
    a_commit,
    a_deposit,
    a_refund,
    a_reserve,
    a_void,
    eur,
    ledger_world,
)
from tradeflow.ledger.v1 import commands_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
BUYER, SELLER = uuid4(), uuid4()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LedgerWorld]:
    async with ledger_world(tmp_path) as running:
        await running.deposit(BUYER, 1_000)
        yield running


async def refusal_of(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return refusal.value.code(), error_of(refusal.value).reason


def reserve(world: LedgerWorld, **fields: object) -> Awaitable[object]:
    command = a_reserve(BUYER, 100, hold_id=uuid4(), expires_at=world.in_seconds(60))
    change(command, fields)
    return world.stub.ReserveFunds(messages.ReserveFundsRequest(command=command), metadata=world.orders(BUYER))


def deposit(world: LedgerWorld, **fields: object) -> Awaitable[object]:
    command = a_deposit(BUYER, 100)
    change(command, fields)
    return world.stub.Deposit(messages.DepositRequest(command=command), metadata=world.orders())


def capture(world: LedgerWorld, hold_id: UUID, parts: dict[UUID, int], **fields: object) -> Awaitable[object]:
    command = a_capture(BUYER, hold_id, parts, key=str(uuid4()))
    change(command, fields)
    return world.stub.CaptureFunds(messages.CaptureFundsRequest(command=command), metadata=world.orders())


def refund(world: LedgerWorld, hold_id: UUID, parts: dict[UUID, int], **fields: object) -> Awaitable[object]:
    command = a_refund(BUYER, hold_id, parts)
    change(command, fields)
    return world.stub.RefundCapture(messages.RefundCaptureRequest(command=command), metadata=world.orders())


def void(world: LedgerWorld, hold_id: UUID, wallet_id: UUID = BUYER) -> Awaitable[object]:
    return world.stub.VoidHold(messages.VoidHoldRequest(command=a_void(wallet_id, hold_id)), metadata=world.orders())


def commit(world: LedgerWorld, hold_id: UUID, wallet_id: UUID = BUYER) -> Awaitable[object]:
    return world.stub.CommitHold(
        messages.CommitHoldRequest(command=a_commit(wallet_id, hold_id)), metadata=world.orders()
    )


def change(
    command: commands_pb2.ReserveFunds | commands_pb2.Deposit | commands_pb2.CaptureFunds | commands_pb2.RefundCapture,
    fields: dict[str, object],
) -> None:
    for name, value in fields.items():
        if value is None:
            command.ClearField(name)  # type: ignore[arg-type]  # the tests name fields of four messages
        elif isinstance(value, str | int):
            setattr(command, name, value)
        else:
            getattr(command, name).CopyFrom(value)


MALFORMED: dict[str, tuple[Callable[[LedgerWorld], Awaitable[object]], str]] = {
    "no key": (lambda world: deposit(world, idempotency_key=None), "idempotency_key_malformed"),
    "a long key": (lambda world: deposit(world, idempotency_key="k" * 129), "idempotency_key_malformed"),
    "a long key in bytes": (lambda world: deposit(world, idempotency_key="ä" * 65), "idempotency_key_malformed"),
    "no wallet": (lambda world: deposit(world, wallet_id=None), "id_malformed"),
    "a wallet without hyphens": (lambda world: deposit(world, wallet_id=BUYER.hex), "id_malformed"),
    "a wallet in braces": (lambda world: deposit(world, wallet_id=f"{{{BUYER}}}"), "id_malformed"),
    "a system account for a wallet": (lambda world: deposit(world, wallet_id="system:funding:EUR"), "id_malformed"),
    "no amount": (lambda world: deposit(world, amount=None), "invalid_amount"),
    "nothing": (lambda world: deposit(world, amount=eur(0)), "invalid_amount"),
    "less than nothing": (lambda world: deposit(world, amount=eur(-1)), "invalid_amount"),
    "more than JSON carries": (lambda world: deposit(world, amount=eur(2**53)), "invalid_amount"),
    "an unknown asset": (
        lambda world: deposit(world, amount=type(eur(1))(amount_minor=1, currency="eur")),
        "unknown_asset",
    ),
    "a long note": (lambda world: deposit(world, note="n" * 1_025), "note_too_long"),
    "no hold": (lambda world: reserve(world, hold_id=None), "id_malformed"),
    "no expiry": (lambda world: reserve(world, expires_at=None), "expiry_missing"),
    "no such instant": (lambda world: reserve(world, expires_at=Timestamp(seconds=2**60)), "instant_malformed"),
    "a hold for months": (
        lambda world: reserve(world, expires_at=Timestamp(seconds=int(world.in_seconds(32 * 86_400).timestamp()))),
        "expiry_too_far",
    ),
    "no sellers": (lambda world: capture(world, uuid4(), {}, amount=eur(1)), "sellers_malformed"),
    "too many sellers": (
        lambda world: capture(world, uuid4(), {uuid4(): 1 for _ in range(101)}),
        "sellers_malformed",
    ),
    "no capture number": (
        lambda world: capture(world, uuid4(), {SELLER: 1}, capture_number=0),
        "capture_number_malformed",
    ),
    "no refund legs": (lambda world: refund(world, uuid4(), {}), "sellers_malformed"),
    "a refund of nothing": (lambda world: refund(world, uuid4(), {SELLER: 0}), "invalid_amount"),
    "a page of thousands": (
        lambda world: world.stub.ListStatement(
            messages.ListStatementRequest(wallet_id=str(BUYER), currency="EUR", page_size=1_001),
            metadata=world.orders(),
        ),
        "page_size_malformed",
    ),
    "a negative sequence": (
        lambda world: world.stub.ListWalletEvents(
            messages.ListWalletEventsRequest(wallet_id=str(BUYER), after_sequence=-1), metadata=world.orders()
        ),
        "sequence_malformed",
    ),
    "an empty batch": (
        lambda world: world.stub.ExecuteBatch(messages.ExecuteBatchRequest(), metadata=world.orders()),
        "batch_size_malformed",
    ),
    "a batch that is too long": (
        lambda world: world.stub.ExecuteBatch(
            messages.ExecuteBatchRequest(commands=[commands_pb2.Command()] * 1_025), metadata=world.orders()
        ),
        "batch_size_malformed",
    ),
}


async def test_what_can_never_be_right_is_refused_at_the_door(world: LedgerWorld) -> None:
    answers = {name: await refusal_of(call(world)) for name, (call, _) in MALFORMED.items()}

    assert answers == {name: (INVALID_ARGUMENT, reason) for name, (_, reason) in MALFORMED.items()}
    assert (await world.verify()).last_sequence == 3


async def test_a_remembered_refusal_is_given_again(world: LedgerWorld) -> None:
    command = a_reserve(BUYER, 1_001, hold_id=uuid4(), expires_at=world.in_seconds(60))
    request = messages.ReserveFundsRequest(command=command)

    first = await refusal_of(world.stub.ReserveFunds(request, metadata=world.orders(BUYER)))
    await world.deposit(BUYER, 1)
    later = await refusal_of(world.stub.ReserveFunds(request, metadata=world.orders(BUYER)))

    assert first == later == (FAILED_PRECONDITION, "insufficient_funds")


async def test_the_same_key_with_another_amount_is_refused_and_changes_nothing(world: LedgerWorld) -> None:
    await world.deposit(BUYER, 5, key="k")

    answer = await refusal_of(deposit(world, idempotency_key="k", amount=eur(6)))

    assert answer == (grpc.StatusCode.ALREADY_EXISTS, "idempotency_key_reused")
    assert (await world.balance(BUYER)).posted_minor == 1_005


async def test_a_reserve_that_comes_after_its_void_is_refused(world: LedgerWorld) -> None:
    hold_id = uuid4()
    await void(world, hold_id)

    answer = await refusal_of(reserve(world, hold_id=str(hold_id)))

    assert answer == (FAILED_PRECONDITION, "hold_voided")
    assert (await world.balance(BUYER)).available_minor == 1_000


async def test_a_reserve_is_refused_for_what_the_state_says(world: LedgerWorld) -> None:
    hold_id = await world.reserve(BUYER, 10)
    past = Timestamp(seconds=int(world.in_seconds(-5).timestamp()))
    yen = type(eur(1))(amount_minor=1, currency="JPY")

    assert await refusal_of(reserve(world, expires_at=past)) == (FAILED_PRECONDITION, "expiry_in_the_past")
    assert await refusal_of(reserve(world, amount=yen)) == (FAILED_PRECONDITION, "account_not_open")
    assert await refusal_of(reserve(world, hold_id=str(hold_id), idempotency_key="other")) == (
        grpc.StatusCode.ABORTED,
        "hold_exists",
    )


async def test_a_hold_that_is_not_there_is_not_found(world: LedgerWorld) -> None:
    missing = uuid4()
    get = world.stub.GetHold(messages.GetHoldRequest(hold_id=str(missing)), metadata=world.orders())

    assert await refusal_of(get) == (grpc.StatusCode.NOT_FOUND, "hold_not_found")
    assert await refusal_of(commit(world, missing)) == (grpc.StatusCode.NOT_FOUND, "hold_not_found")
    assert await refusal_of(capture(world, missing, {SELLER: 1})) == (grpc.StatusCode.NOT_FOUND, "hold_not_found")
    assert await refusal_of(refund(world, missing, {SELLER: 1})) == (grpc.StatusCode.NOT_FOUND, "capture_not_found")


async def test_a_hold_of_another_wallet_is_let_alone(world: LedgerWorld) -> None:
    hold_id = await world.reserve(BUYER, 10)

    assert await refusal_of(void(world, hold_id, SELLER)) == (grpc.StatusCode.PERMISSION_DENIED, "not_hold_owner")
    assert await refusal_of(commit(world, hold_id, SELLER)) == (grpc.StatusCode.PERMISSION_DENIED, "not_hold_owner")


async def test_a_capture_is_refused_for_what_the_hold_says(world: LedgerWorld) -> None:
    hold_id = await world.reserve(BUYER, 10, commit=True)
    voided = await world.reserve(BUYER, 10, commit=True)
    await void(world, voided)

    assert await refusal_of(capture(world, hold_id, {SELLER: 11})) == (FAILED_PRECONDITION, "exceeds_hold")
    assert await refusal_of(capture(world, hold_id, {SELLER: 5}, amount=eur(6))) == (
        INVALID_ARGUMENT,
        "allocations_mismatch",
    )
    assert await refusal_of(capture(world, voided, {SELLER: 5})) == (FAILED_PRECONDITION, "hold_closed")


async def test_a_refund_is_refused_beyond_what_was_captured_or_the_seller_has(world: LedgerWorld) -> None:
    hold_id = await world.reserve(BUYER, 100, commit=True)
    await capture(world, hold_id, {SELLER: 100})

    assert await refusal_of(refund(world, hold_id, {SELLER: 101})) == (FAILED_PRECONDITION, "exceeds_capture")
    assert await refusal_of(refund(world, hold_id, {uuid4(): 1})) == (FAILED_PRECONDITION, "exceeds_capture")
    assert await refusal_of(void(world, hold_id)) == (FAILED_PRECONDITION, "hold_captured")
    spent = uuid4()
    command = a_reserve(SELLER, 98, hold_id=spent, expires_at=world.in_seconds(60))
    await world.stub.ReserveFunds(messages.ReserveFundsRequest(command=command), metadata=world.orders(SELLER))
    assert await refusal_of(refund(world, hold_id, {SELLER: 100})) == (FAILED_PRECONDITION, "insufficient_funds")


async def test_a_call_whose_deadline_passed_may_be_asked_again_with_its_key(world: LedgerWorld) -> None:
    request = messages.DepositRequest(command=a_deposit(BUYER, 7, key="slow"))
    async with world.ledger.book.database.transaction():
        late = await refusal_of(world.stub.Deposit(request, metadata=world.orders(), timeout=0.2))

    answer = await world.stub.Deposit(request, metadata=world.orders())

    assert late[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    assert answer.receipt.replayed
    assert (await world.balance(BUYER)).posted_minor == 1_007
