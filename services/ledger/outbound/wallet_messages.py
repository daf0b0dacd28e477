"""Balances, holds and money as the contracts spell them; the doors and the events share these."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from services.ledger.domain.account import Account
from services.ledger.domain.hold import Hold, HoldState
from services.money import Money
from services.runtime.clock import to_micros
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
    message = Timestamp()
    fill_timestamp(message, instant)
    return message


def balance_message(account: Account) -> wallet_pb2.Balance:
    """Show the balance of a wallet's account."""
    message = wallet_pb2.Balance()
    fill_balance(message, account)
    return message


def hold_message(hold: Hold) -> wallet_pb2.Hold:
    """Show a hold."""
    message = wallet_pb2.Hold()
    fill_hold(message, hold)
    return message


def fill_timestamp(message: Timestamp, instant: datetime) -> None:
    """Write an instant into a message: a part that is filled in its place isn't made first and copied then."""
    message.seconds, micros = divmod(to_micros(instant), 1_000_000)
    message.nanos = micros * 1000


def fill_money(message: money_pb2.Money, money: Money) -> None:
    """Write an amount into a message."""
    message.amount_minor = money.amount_minor
    message.currency = money.currency


def fill_balance(message: wallet_pb2.Balance, account: Account) -> None:
    """Write the balance of a wallet's account into a message."""
    message.wallet_id = account.wallet_name
    message.currency = account.currency
    message.posted_minor = account.posted_minor
    message.pending_outgoing_minor = account.pending_outgoing_minor
    message.available_minor = account.told_available_minor
    message.overdraft_limit_minor = account.overdraft_limit
    message.account_sequence = account.account_sequence


def fill_hold(message: wallet_pb2.Hold, hold: Hold) -> None:
    """Write a hold into a message; a tombstone shows no wallet, since nobody proved that it is theirs."""
    message.hold_id = str(hold.hold_id)
    if hold.state is not HoldState.TOMBSTONE:
        message.wallet_id = str(hold.wallet_id)
    message.currency = hold.currency
    message.state = HOLD_STATES[hold.state]
    message.held_minor = hold.held_minor
    message.captured_minor = hold.captured_minor
    message.voided_minor = hold.voided_minor
    message.remaining_minor = hold.remaining_minor
    message.refunded_minor = hold.refunded_minor
    if hold.expires_at is not None:
        fill_timestamp(message.expires_at, hold.expires_at)
