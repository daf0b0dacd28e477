"""Each call of the ledger's gRPC door, on a real ledger."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

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
from tradeflow.common.v1 import wallet_pb2
from tradeflow.ledger.v1 import commands_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LedgerWorld]:
    async with ledger_world(tmp_path) as running:
        yield running


async def test_money_goes_from_a_deposit_by_a_hold_to_the_seller_and_back(world: LedgerWorld) -> None:
    buyer, seller = uuid4(), uuid4()

    await world.deposit(buyer, 10_000)
    hold_id = await world.reserve(buyer, 4_000, commit=True)
    held = await world.balance(buyer)
    captured = await world.stub.CaptureFunds(
        messages.CaptureFundsRequest(command=a_capture(buyer, hold_id, {seller: 4_000})), metadata=world.orders()
    )
    await world.stub.RefundCapture(
        messages.RefundCaptureRequest(command=a_refund(buyer, hold_id, {seller: 1_000})), metadata=world.orders()
    )

    assert (held.posted_minor, held.pending_outgoing_minor, held.available_minor) == (10_000, 4_000, 6_000)
    assert captured.receipt.hold.state == wallet_pb2.HOLD_STATE_CAPTURED
    assert (await world.balance(buyer)).available_minor == 7_000
    assert (await world.balance(seller)).available_minor == 3_900 - 975
    report = await world.verify()
    assert report.problems == ()


async def test_an_account_opens_once_and_opening_it_again_is_success(world: LedgerWorld) -> None:
    command = commands_pb2.OpenAccount(idempotency_key="open", wallet_id=str(uuid4()), currency="EUR")
    again = commands_pb2.OpenAccount(idempotency_key="again", wallet_id=command.wallet_id, currency="EUR")

    first = await world.stub.OpenAccount(messages.OpenAccountRequest(command=command), metadata=world.orders())
    second = await world.stub.OpenAccount(messages.OpenAccountRequest(command=again), metadata=world.orders())

    assert first.receipt.journal_sequence == 1
    assert second.receipt.journal_sequence == 0


async def test_a_deposit_repeated_with_its_key_pays_once_and_says_so(world: LedgerWorld) -> None:
    wallet = uuid4()
    request = messages.DepositRequest(command=a_deposit(wallet, 500, key="once"))

    first = (await world.stub.Deposit(request, metadata=world.orders())).receipt
    second = (await world.stub.Deposit(request, metadata=world.orders())).receipt

    assert (first.replayed, second.replayed) == (False, True)
    assert first.journal_sequence == second.journal_sequence
    assert first.recorded_at == second.recorded_at
    assert (await world.balance(wallet)).posted_minor == 500


async def test_one_key_of_two_services_has_two_effects(world: LedgerWorld) -> None:
    wallet = uuid4()
    request = messages.DepositRequest(command=a_deposit(wallet, 500, key="mine"))

    await world.stub.Deposit(request, metadata=world.service("orders"))
    await world.stub.Deposit(request, metadata=world.service("treasury"))

    assert (await world.balance(wallet)).posted_minor == 1_000


async def test_a_hold_is_committed_and_then_never_expires(world: LedgerWorld) -> None:
    buyer = uuid4()
    await world.deposit(buyer, 100)
    hold_id = await world.reserve(buyer, 100)

    before = await world.stub.GetHold(messages.GetHoldRequest(hold_id=str(hold_id)), metadata=world.orders())
    await world.stub.CommitHold(messages.CommitHoldRequest(command=a_commit(buyer, hold_id)), metadata=world.orders())
    after = await world.stub.GetHold(messages.GetHoldRequest(hold_id=str(hold_id)), metadata=world.orders())

    assert before.hold.state == wallet_pb2.HOLD_STATE_OPEN
    assert before.hold.HasField("expires_at")
    assert after.hold.state == wallet_pb2.HOLD_STATE_COMMITTED
    assert not after.hold.HasField("expires_at")


async def test_a_voided_hold_gives_the_money_back(world: LedgerWorld) -> None:
    buyer = uuid4()
    await world.deposit(buyer, 100)
    hold_id = await world.reserve(buyer, 60)

    answer = await world.stub.VoidHold(
        messages.VoidHoldRequest(command=a_void(buyer, hold_id)), metadata=world.orders()
    )

    assert answer.receipt.hold.state == wallet_pb2.HOLD_STATE_VOIDED
    assert (await world.balance(buyer)).available_minor == 100


async def test_a_batch_is_decided_in_order_and_one_refusal_disturbs_no_neighbour(world: LedgerWorld) -> None:
    buyer, hold_id = uuid4(), uuid4()
    late = world.in_seconds(60)
    request = messages.ExecuteBatchRequest(
        commands=[
            commands_pb2.Command(deposit=a_deposit(buyer, 100)),
            commands_pb2.Command(reserve_funds=a_reserve(buyer, 101, hold_id=uuid4(), expires_at=late)),
            commands_pb2.Command(void_hold=commands_pb2.VoidHold(idempotency_key="x", hold_id="nonsense")),
            commands_pb2.Command(),
            commands_pb2.Command(reserve_funds=a_reserve(buyer, 100, hold_id=hold_id, expires_at=late)),
        ]
    )

    outcomes = (await world.stub.ExecuteBatch(request, metadata=world.orders(buyer))).outcomes

    assert [outcome.problem.reason for outcome in outcomes] == [
        "",
        "insufficient_funds",
        "id_malformed",
        "command_missing",
        "",
    ]
    assert outcomes[1].problem.details["available_minor"] == "100"
    assert not outcomes[1].problem.retryable
    assert outcomes[4].receipt.hold.hold_id == str(hold_id)


async def test_an_account_that_was_never_opened_has_zeros(world: LedgerWorld) -> None:
    wallet = uuid4()

    balance = await world.balance(wallet, "JPY")

    assert balance == wallet_pb2.Balance(wallet_id=str(wallet), currency="JPY")


async def test_a_statement_comes_in_pages_oldest_first_and_names_the_holds(world: LedgerWorld) -> None:
    buyer, seller = uuid4(), uuid4()
    for amount in (100, 200, 300):
        await world.deposit(buyer, amount)
    hold_id = await world.reserve(buyer, 150, commit=True)
    await world.stub.CaptureFunds(
        messages.CaptureFundsRequest(command=a_capture(buyer, hold_id, {seller: 150})), metadata=world.orders()
    )

    request = messages.ListStatementRequest(wallet_id=str(buyer), currency="EUR", page_size=3)
    first = await world.stub.ListStatement(request, metadata=world.orders(buyer))
    request.after_account_sequence = first.next_after_account_sequence
    second = await world.stub.ListStatement(request, metadata=world.orders(buyer))

    assert [(line.kind, line.amount.amount_minor, line.balance_minor) for line in first.lines] == [
        ("deposit", 100, 100),
        ("deposit", 200, 300),
        ("deposit", 300, 600),
    ]
    assert [(line.kind, line.amount, line.balance_minor, line.hold_id) for line in second.lines] == [
        ("capture", eur(-150), 450, str(hold_id))
    ]
    assert (first.next_after_account_sequence, second.next_after_account_sequence) == (3, 0)


async def test_wallet_events_are_numbered_without_a_gap_over_all_currencies(world: LedgerWorld) -> None:
    buyer = uuid4()
    await world.deposit(buyer, 100)
    await world.deposit(buyer, 100, currency="JPY")
    await world.reserve(buyer, 40)

    request = messages.ListWalletEventsRequest(wallet_id=str(buyer), page_size=4)
    first = await world.stub.ListWalletEvents(request, metadata=world.orders(buyer))
    request.after_sequence = first.events[-1].sequence
    second = await world.stub.ListWalletEvents(request, metadata=world.orders(buyer))

    assert [(event.sequence, event.WhichOneof("fact")) for event in [*first.events, *second.events]] == [
        (1, "account_opened"),
        (2, "funds_deposited"),
        (3, "account_opened"),
        (4, "funds_deposited"),
        (5, "funds_reserved"),
    ]
    assert (first.last_sequence, first.reload_required) == (5, False)
    assert first.HasField("read_at")
    assert second.events[0].balance.available_minor == 60


async def test_a_client_that_claims_more_events_than_there_are_must_reload(world: LedgerWorld) -> None:
    buyer = uuid4()
    await world.deposit(buyer, 100)

    request = messages.ListWalletEventsRequest(wallet_id=str(buyer), after_sequence=3)
    answer = await world.stub.ListWalletEvents(request, metadata=world.orders(buyer))

    assert answer.reload_required
    assert (list(answer.events), answer.last_sequence) == ([], 2)


async def test_a_client_whose_events_were_pruned_must_reload(world: LedgerWorld) -> None:
    buyer = uuid4()
    await world.deposit(buyer, 100)
    await world.deposit(buyer, 200)
    async with world.ledger.book.database.transaction() as connection:
        await connection.execute("DELETE FROM outbox WHERE sequence <= 2")

    request = messages.ListWalletEventsRequest(wallet_id=str(buyer))
    from_the_start = await world.stub.ListWalletEvents(request, metadata=world.orders(buyer))
    request.after_sequence = 2
    from_what_is_kept = await world.stub.ListWalletEvents(request, metadata=world.orders(buyer))

    assert from_the_start.reload_required
    assert [event.sequence for event in from_what_is_kept.events] == [3]


async def test_what_was_answered_is_there_after_a_restart(tmp_path: Path) -> None:
    buyer = uuid4()
    async with ledger_world(tmp_path) as before:
        await before.deposit(buyer, 100)

    async with ledger_world(tmp_path) as after:
        assert (await after.balance(buyer)).posted_minor == 100
        assert (await after.verify()).problems == ()
