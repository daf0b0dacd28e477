"""Wallet events as they leave: Protobuf for the topic `wallet-events`, keyed by wallet."""

from collections.abc import Callable
from typing import Any

from services.ledger.domain import wallet_event as facts
from services.ledger.domain.wallet_event import WalletEvent
from services.ledger.outbound.wallet_messages import balance_message, hold_message, money_message, timestamp_message
from services.runtime.ids import new_id
from services.runtime.outbox import OutboxEvent
from tradeflow.events.v1 import wallet_event_pb2 as messages

WALLET_EVENTS_TOPIC = "wallet-events"
"""Where they go."""

WALLET_EVENT_TYPE: str = messages.WalletEvent.DESCRIPTOR.full_name
"""What the header `event-type` says."""


def outbox_event_of(event: WalletEvent) -> OutboxEvent:
    """Encode an event and give it its id."""
    event_id = new_id()
    wallet_id = str(event.wallet_id)
    message = messages.WalletEvent(
        event_id=str(event_id),
        wallet_id=wallet_id,
        sequence=event.sequence,
        recorded_at=timestamp_message(event.recorded_at),
        journal_sequence=event.journal_sequence,
        balance=balance_message(event.account),
    )
    _FACTS[type(event.fact)](message, event.fact)
    return OutboxEvent(
        topic=WALLET_EVENTS_TOPIC,
        key=wallet_id.encode(),
        key_sequence=event.sequence,
        event_id=event_id,
        event_type=WALLET_EVENT_TYPE,
        payload=message.SerializeToString(),
        traceparent=event.traceparent,
        recorded_at=event.recorded_at,
    )


def _account_opened(message: messages.WalletEvent, _fact: facts.AccountOpened) -> None:
    message.account_opened.SetInParent()


def _funds_deposited(message: messages.WalletEvent, fact: facts.FundsDeposited) -> None:
    message.funds_deposited.amount.CopyFrom(money_message(fact.amount))


def _funds_reserved(message: messages.WalletEvent, fact: facts.FundsReserved) -> None:
    message.funds_reserved.hold.CopyFrom(hold_message(fact.hold))


def _hold_committed(message: messages.WalletEvent, fact: facts.HoldCommitted) -> None:
    message.hold_committed.hold.CopyFrom(hold_message(fact.hold))


def _hold_voided(message: messages.WalletEvent, fact: facts.HoldVoided) -> None:
    message.hold_voided.hold.CopyFrom(hold_message(fact.hold))


def _hold_expired(message: messages.WalletEvent, fact: facts.HoldExpired) -> None:
    message.hold_expired.hold.CopyFrom(hold_message(fact.hold))


def _funds_captured(message: messages.WalletEvent, fact: facts.FundsCaptured) -> None:
    message.funds_captured.CopyFrom(
        messages.FundsCaptured(
            hold=hold_message(fact.hold), amount=money_message(fact.amount), capture_number=fact.capture_number
        )
    )


def _sale_credited(message: messages.WalletEvent, fact: facts.SaleCredited) -> None:
    message.sale_credited.CopyFrom(
        messages.SaleCredited(
            hold_id=str(fact.hold_id),
            capture_number=fact.capture_number,
            gross=money_message(fact.gross),
            fee=money_message(fact.fee),
            net=money_message(fact.gross - fact.fee),
        )
    )


def _refund_credited(message: messages.WalletEvent, fact: facts.RefundCredited) -> None:
    message.refund_credited.CopyFrom(
        messages.RefundCredited(
            hold=hold_message(fact.hold), amount=money_message(fact.amount), capture_number=fact.capture_number
        )
    )


def _refund_debited(message: messages.WalletEvent, fact: facts.RefundDebited) -> None:
    message.refund_debited.CopyFrom(
        messages.RefundDebited(
            hold_id=str(fact.hold_id),
            capture_number=fact.capture_number,
            gross=money_message(fact.gross),
            fee=money_message(fact.fee),
            net=money_message(fact.gross - fact.fee),
        )
    )


def _settlement_refused(message: messages.WalletEvent, fact: facts.SettlementRefused) -> None:
    message.settlement_refused.CopyFrom(
        messages.SettlementRefused(
            hold_id=str(fact.hold_id),
            capture_number=fact.capture_number,
            reason=fact.reason,
            message=fact.message,
        )
    )


_FACTS: dict[type, Callable[[messages.WalletEvent, Any], None]] = {
    facts.AccountOpened: _account_opened,
    facts.FundsDeposited: _funds_deposited,
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
