"""Each fact as it leaves: the message that the contract promises."""

from datetime import timedelta
from typing import get_args

import pytest

from services.ledger.commands.command import Command
from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.domain.wallet_event import Fact
from services.ledger.outbound.wallet_event_encoding import _FACTS, outbox_event_of, wallet_message_of
from tests.support.ledger_book import MemoryBook
from tests.support.ledger_commands import (
    BUYER,
    NOW,
    SELLER,
    an_id,
    capture,
    commit,
    deposit,
    leg,
    refund,
    reserve,
    reverse,
    set_limit,
    transfer,
    void,
    withdraw,
)
from tradeflow.events.v1.wallet_event_pb2 import WalletEvent

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SOON = NOW + timedelta(minutes=5)


def told(*commands: Command, late: Command | None = None) -> dict[str, WalletEvent]:
    """Run commands and read the newest event of each kind."""
    book = MemoryBook(*commands)
    if late is not None:
        book.pass_time(SOON)
        book.run(late)
    messages = [WalletEvent.FromString(wallet_message_of(outbox_event_of(event)).value) for event in book.events]
    return {message.WhichOneof("fact") or "": message for message in messages}


def test_every_fact_has_its_encoder() -> None:
    assert set(get_args(Fact)) == set(_FACTS)


def test_an_event_is_keyed_and_numbered_by_its_wallet() -> None:
    book = MemoryBook(deposit(amount=70, traceparent=TRACE))

    event = outbox_event_of(book.events[-1])
    message = WalletEvent.FromString(wallet_message_of(event).value)

    assert (event.topic, event.key, event.key_sequence) == ("wallet-events", str(BUYER).encode(), 2)
    assert (event.event_type, event.traceparent) == ("tradeflow.events.v1.WalletEvent", TRACE)
    assert (message.event_id, message.wallet_id, message.sequence) == (str(event.event_id), str(BUYER), 2)
    assert (message.journal_sequence, message.recorded_at.ToNanoseconds() % 10**9) == (3, 2_000)
    assert (message.balance.posted_minor, message.balance.currency, message.balance.account_sequence) == (70, "EUR", 1)
    assert message.funds_deposited.amount.amount_minor == 70


def test_what_happens_to_a_hold_is_told_with_its_totals() -> None:
    messages = told(deposit(), reserve(expires_at=SOON), commit(), capture(parts=400), void(), refund(parts=100))

    reserved, captured = messages["funds_reserved"].funds_reserved.hold, messages["funds_captured"].funds_captured
    assert (reserved.hold_id, reserved.state, reserved.expires_at.ToDatetime()) == (
        *(str(an_id("order")), 1, SOON.replace(tzinfo=None)),
    )
    assert messages["funds_reserved"].balance.pending_outgoing_minor == 1_000
    assert not messages["hold_committed"].hold_committed.hold.HasField("expires_at")
    assert (captured.amount.amount_minor, captured.capture_number, captured.hold.remaining_minor) == (400, 1, 600)
    assert messages["hold_voided"].hold_voided.hold.voided_minor == 600
    assert messages["refund_credited"].refund_credited.hold.refunded_minor == 100
    assert messages["refund_credited"].refund_credited.amount.amount_minor == 100


def test_sellers_are_told_gross_fee_and_net() -> None:
    messages = told(deposit(), reserve(), capture(fee=250), refund(parts=400))

    sale, back = messages["sale_credited"].sale_credited, messages["refund_debited"].refund_debited
    assert (sale.gross.amount_minor, sale.fee.amount_minor, sale.net.amount_minor) == (1_000, 25, 975)
    assert (back.gross.amount_minor, back.fee.amount_minor, back.net.amount_minor) == (400, 10, 390)
    assert messages["sale_credited"].wallet_id == str(SELLER)


@pytest.mark.parametrize(
    "late", [ExpireHold(hold_id=an_id("order")), capture(report_refusal=True)], ids=["expired", "refused"]
)
def test_a_hold_that_ran_out_is_told(late: Command) -> None:
    messages = told(deposit(), reserve(expires_at=SOON), late=late)

    assert messages["hold_expired"].hold_expired.hold.voided_minor == 1_000
    assert messages["hold_expired"].balance.available_minor == 10_000


def test_a_refusal_is_told_without_a_record_and_with_the_wallets_balance() -> None:
    message = told(deposit(), late=capture(report_refusal=True))["settlement_refused"]

    refusal = message.settlement_refused
    assert (refusal.hold_id, refusal.capture_number, refusal.reason) == (str(an_id("order")), 1, "hold_not_found")
    assert refusal.message
    assert (message.journal_sequence, message.balance.posted_minor) == (0, 10_000)


def test_money_that_moves_without_a_hold_is_told_with_its_sign() -> None:
    messages = told(deposit(), withdraw(amount=300), transfer(leg(BUYER, -70), leg(SELLER, 70)), reverse(4))

    assert messages["funds_withdrawn"].funds_withdrawn.amount.amount_minor == 300
    assert messages["funds_withdrawn"].balance.posted_minor == 9_700
    assert messages["funds_transferred"].funds_transferred.amount.amount_minor == 70
    assert messages["funds_transferred"].wallet_id == str(SELLER)
    undone = messages["record_reversed"]
    assert (undone.record_reversed.journal_sequence, undone.record_reversed.amount.amount_minor) == (4, 300)
    assert undone.journal_sequence > 4


def test_a_limit_is_told_with_the_one_before_it() -> None:
    message = told(set_limit(limit=500), set_limit(limit=200))["limit_changed"]

    assert message.limit_changed.previous_overdraft_limit_minor == 500
    assert (message.balance.overdraft_limit_minor, message.balance.available_minor) == (200, 200)


def test_what_a_seller_owes_after_a_refund_is_told_apart_from_what_was_paid() -> None:
    late = refund(parts=400, shortfall_to_receivable=True)
    messages = told(deposit(), reserve(), capture(fee=250), withdraw(SELLER, 900), late)

    back = messages["refund_debited"].refund_debited
    assert (back.gross.amount_minor, back.fee.amount_minor) == (400, 10)
    assert (back.net.amount_minor, back.receivable.amount_minor) == (75, 315)
    enough = told(deposit(), reserve(), capture(fee=250), refund(parts=400))["refund_debited"].refund_debited
    assert not enough.HasField("receivable")
