"""Wallet events: compact in the outbox, where a batch waits for them, and as Protobuf once they leave it.

A commit writes what only it knows. The contract's message, which takes ten times as long to make, is made of that when
the relay publishes it or a client catches up; the same bytes each time.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from services.ledger.domain import wallet_event as facts
from services.ledger.domain.wallet_event import Fact, WalletEvent
from services.ledger.outbound.wallet_messages import fill_hold, fill_money, fill_timestamp
from services.runtime.broker.port import Message
from services.runtime.ids import id_text, new_id
from services.runtime.outbox import OutboxEvent
from tradeflow.events.v1 import wallet_event_pb2 as messages

WALLET_EVENTS_TOPIC = "wallet-events"
"""Where they go."""

WALLET_EVENT_TYPE: str = messages.WalletEvent.DESCRIPTOR.full_name
"""What the header `event-type` says."""


class StoredEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the outbox keeps of an event beside its key, its number and its time: the account after it, and the fact.

    It is read again for as long as events are kept: a new field goes to the end and has a default.
    """

    journal_sequence: int
    currency: str
    posted_minor: int
    pending_outgoing_minor: int
    available_minor: int
    overdraft_limit_minor: int
    account_sequence: int
    fact: Fact


_ENCODER = msgspec.msgpack.Encoder(uuid_format="bytes")

_DECODER = msgspec.msgpack.Decoder(StoredEvent)


def outbox_event_of(event: WalletEvent) -> OutboxEvent:
    """Write an event down and give it its id."""
    account = event.account
    stored = StoredEvent(
        event.journal_sequence,
        account.currency,
        account.posted_minor,
        account.pending_outgoing_minor,
        account.told_available_minor,
        account.overdraft_limit,
        account.account_sequence,
        event.fact,
    )
    return OutboxEvent(
        topic=WALLET_EVENTS_TOPIC,
        key=account.wallet_name.encode(),
        key_sequence=event.sequence,
        previous_position=event.previous_position,
        event_id=new_id(),
        event_type=WALLET_EVENT_TYPE,
        payload=_ENCODER.encode(stored),
        traceparent=event.traceparent,
        recorded_at=event.recorded_at,
    )


def wallet_message_of(event: OutboxEvent) -> Message:
    """Make what is published of an event of the outbox.

    Raises:
        msgspec.MsgspecError: It isn't one of ours.
    """
    stored, wallet_id = _DECODER.decode(event.payload), event.key.decode()
    message = messages.WalletEvent(
        event_id=id_text(event.event_id),
        wallet_id=wallet_id,
        sequence=event.key_sequence,
        journal_sequence=stored.journal_sequence,
    )
    fill_timestamp(message.recorded_at, event.recorded_at)
    balance = message.balance
    balance.wallet_id = wallet_id
    balance.currency = stored.currency
    balance.posted_minor = stored.posted_minor
    balance.pending_outgoing_minor = stored.pending_outgoing_minor
    balance.available_minor = stored.available_minor
    balance.overdraft_limit_minor = stored.overdraft_limit_minor
    balance.account_sequence = stored.account_sequence
    _FACTS[type(stored.fact)](message, stored.fact)
    return event.to_message(message.SerializeToString(deterministic=True))


def _account_opened(message: messages.WalletEvent, _fact: facts.AccountOpened) -> None:
    message.account_opened.SetInParent()


def _funds_deposited(message: messages.WalletEvent, fact: facts.FundsDeposited) -> None:
    fill_money(message.funds_deposited.amount, fact.amount)


def _funds_withdrawn(message: messages.WalletEvent, fact: facts.FundsWithdrawn) -> None:
    fill_money(message.funds_withdrawn.amount, fact.amount)


def _funds_transferred(message: messages.WalletEvent, fact: facts.FundsTransferred) -> None:
    fill_money(message.funds_transferred.amount, fact.amount)


def _limit_changed(message: messages.WalletEvent, fact: facts.LimitChanged) -> None:
    message.limit_changed.SetInParent()
    message.limit_changed.previous_overdraft_limit_minor = fact.previous_overdraft_limit_minor


def _record_reversed(message: messages.WalletEvent, fact: facts.RecordReversed) -> None:
    message.record_reversed.journal_sequence = fact.journal_sequence
    fill_money(message.record_reversed.amount, fact.amount)


def _funds_reserved(message: messages.WalletEvent, fact: facts.FundsReserved) -> None:
    fill_hold(message.funds_reserved.hold, fact.hold)


def _hold_committed(message: messages.WalletEvent, fact: facts.HoldCommitted) -> None:
    fill_hold(message.hold_committed.hold, fact.hold)


def _hold_voided(message: messages.WalletEvent, fact: facts.HoldVoided) -> None:
    fill_hold(message.hold_voided.hold, fact.hold)


def _hold_expired(message: messages.WalletEvent, fact: facts.HoldExpired) -> None:
    fill_hold(message.hold_expired.hold, fact.hold)


def _funds_captured(message: messages.WalletEvent, fact: facts.FundsCaptured) -> None:
    captured = message.funds_captured
    fill_hold(captured.hold, fact.hold)
    fill_money(captured.amount, fact.amount)
    captured.capture_number = fact.capture_number


def _sale_credited(message: messages.WalletEvent, fact: facts.SaleCredited) -> None:
    sale = message.sale_credited
    sale.hold_id = str(fact.hold_id)
    sale.capture_number = fact.capture_number
    fill_money(sale.gross, fact.gross)
    fill_money(sale.fee, fact.fee)
    fill_money(sale.net, fact.gross - fact.fee)


def _refund_credited(message: messages.WalletEvent, fact: facts.RefundCredited) -> None:
    refund = message.refund_credited
    fill_hold(refund.hold, fact.hold)
    fill_money(refund.amount, fact.amount)
    refund.capture_number = fact.capture_number


def _refund_debited(message: messages.WalletEvent, fact: facts.RefundDebited) -> None:
    refund = message.refund_debited
    refund.hold_id = str(fact.hold_id)
    refund.capture_number = fact.capture_number
    fill_money(refund.gross, fact.gross)
    fill_money(refund.fee, fact.fee)
    fill_money(refund.net, fact.gross - fact.fee - fact.receivable)
    if fact.receivable.amount_minor:
        fill_money(refund.receivable, fact.receivable)


def _settlement_refused(message: messages.WalletEvent, fact: facts.SettlementRefused) -> None:
    refusal = message.settlement_refused
    refusal.hold_id = str(fact.hold_id)
    refusal.capture_number = fact.capture_number
    refusal.reason = fact.reason
    refusal.message = fact.message


_FACTS: dict[type, Callable[[messages.WalletEvent, Any], None]] = {
    facts.AccountOpened: _account_opened,
    facts.FundsDeposited: _funds_deposited,
    facts.FundsWithdrawn: _funds_withdrawn,
    facts.FundsTransferred: _funds_transferred,
    facts.LimitChanged: _limit_changed,
    facts.RecordReversed: _record_reversed,
    facts.FundsReserved: _funds_reserved,
    facts.HoldCommitted: _hold_committed,
    facts.FundsCaptured: _funds_captured,
    facts.HoldVoided: _hold_voided,
    facts.HoldExpired: _hold_expired,
    facts.SaleCredited: _sale_credited,
    facts.RefundCredited: _refund_credited,
    facts.RefundDebited: _refund_debited,
    facts.SettlementRefused: _settlement_refused,
}
