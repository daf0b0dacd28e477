"""Balances, holds and money as the contracts spell them; the doors and the events share these."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from services.ledger.domain.account import Account
from services.ledger.domain.canonical import micros_of
from services.ledger.domain.hold import Hold, HoldState
from services.money import Money
from tradeflow.common.v1 import money_pb2, wallet_pb2

HOLD_STATES = {
    HoldState.OPEN: wallet_pb2.HOLD_STATE_OPEN,
    HoldState.COMMITTED: wallet_pb2.HOLD_STATE_COMMITTED,
    HoldState.CAPTURED: wallet_pb2.HOLD_STATE_CAPTURED,
    HoldState.VOIDED: wallet_pb2.HOLD_STATE_VOIDED,
    HoldState.EXPIRED: wallet_pb2.HOLD_STATE_EXPIRED,
    HoldState.TOMBSTONE: wallet_pb2.HOLD_STATE_TOMBSTONE,
}
"""Each state's name in the contract."""


def timestamp_message(instant: datetime) -> Timestamp:
    """Show an instant."""
    seconds, micros = divmod(micros_of(instant), 1_000_000)
    return Timestamp(seconds=seconds, nanos=micros * 1000)


def money_message(money: Money) -> money_pb2.Money:
    """Show an amount."""
    return money_pb2.Money(amount_minor=money.amount_minor, currency=money.currency)


def balance_message(account: Account) -> wallet_pb2.Balance:
    """Show the balance of a wallet's account."""
    return wallet_pb2.Balance(
        wallet_id=str(account.wallet_id),
        currency=account.currency,
        posted_minor=account.posted_minor,
        pending_outgoing_minor=account.pending_outgoing_minor,
        available_minor=account.available_minor,
        overdraft_limit_minor=account.overdraft_limit,
        account_sequence=account.account_sequence,
    )


def hold_message(hold: Hold) -> wallet_pb2.Hold:
    """Show a hold; a tombstone shows no wallet, since nobody proved that it is theirs."""
    return wallet_pb2.Hold(
        hold_id=str(hold.hold_id),
        wallet_id="" if hold.state is HoldState.TOMBSTONE else str(hold.wallet_id),
        currency=hold.currency,
        state=HOLD_STATES[hold.state],
        held_minor=hold.held_minor,
        captured_minor=hold.captured_minor,
        voided_minor=hold.voided_minor,
        remaining_minor=hold.remaining_minor,
        refunded_minor=hold.refunded_minor,
        expires_at=timestamp_message(hold.expires_at) if hold.expires_at is not None else None,
    )
