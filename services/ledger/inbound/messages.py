"""Translation between the contract's messages and the ledger's values: nothing else here knows both.

From a message to a command each field is checked (see fields.py); a command that comes out is well-formed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.ledger.commands.capture_hold import Allocation, CaptureFunds
from services.ledger.commands.command import Command
from services.ledger.commands.commit_hold import CommitHold
from services.ledger.commands.deposit import Deposit
from services.ledger.commands.open_account import OpenAccount
from services.ledger.commands.refund_capture import RefundCapture, RefundLeg
from services.ledger.commands.reserve_funds import ReserveFunds
from services.ledger.commands.void_hold import VoidHold
from services.ledger.domain.receipt import Receipt
from services.ledger.inbound import fields
from services.ledger.outbound.wallet_messages import hold_message, timestamp_message
from services.ledger.queries.statement import StatementLine
from services.money import Money
from services.runtime.errors import InvalidArgumentError, TradeFlowError, UnavailableError
from tradeflow.common.v1 import money_pb2, problem_pb2, wallet_pb2
from tradeflow.ledger.v1 import commands_pb2, ledger_pb2

CommandMessage = (
    commands_pb2.OpenAccount
    | commands_pb2.Deposit
    | commands_pb2.ReserveFunds
    | commands_pb2.CommitHold
    | commands_pb2.CaptureFunds
    | commands_pb2.VoidHold
    | commands_pb2.RefundCapture
)
"""Every command as the contract spells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a command takes from its call rather than from its message."""

    service: str
    """The scope of its key: the caller's name."""

    traceparent: str = ""


def command_of(message: CommandMessage, call: Call) -> Command:
    """Make a command of one message.

    Raises:
        InvalidArgumentError: A field can never be right; the reason says what.
    """
    return _READERS[type(message)](message, call)


def batched_message(item: commands_pb2.Command) -> CommandMessage:
    """Take the one command out of a batch's item.

    Raises:
        InvalidArgumentError: It has none, or one that this version doesn't know (`command_missing`).
    """
    name = item.WhichOneof("command")
    if name is None:
        raise InvalidArgumentError("An item of the batch has no known command.", reason="command_missing")
    message: CommandMessage = getattr(item, name)
    return message


def _open_account(message: commands_pb2.OpenAccount, call: Call) -> OpenAccount:
    return OpenAccount(
        service=call.service,
        traceparent=call.traceparent,
        idempotency_key=message.idempotency_key,
        wallet_id=fields.id_of(message.wallet_id, "wallet_id"),
        currency=message.currency,
    )


def _deposit(message: commands_pb2.Deposit, call: Call) -> Deposit:
    return Deposit(
        service=call.service,
        traceparent=call.traceparent,
        idempotency_key=message.idempotency_key,
        wallet_id=fields.id_of(message.wallet_id, "wallet_id"),
        amount=_positive_money(message.amount),
        note=message.note,
    )


def _commit_hold(message: commands_pb2.CommitHold, call: Call) -> CommitHold:
    return CommitHold(
        service=call.service,
        traceparent=call.traceparent,
        idempotency_key=message.idempotency_key,
        hold_id=fields.id_of(message.hold_id, "hold_id"),
        wallet_id=fields.id_of(message.wallet_id, "wallet_id"),
    )


def _void_hold(message: commands_pb2.VoidHold, call: Call) -> VoidHold:
    return VoidHold(
        service=call.service,
        traceparent=call.traceparent,
        idempotency_key=message.idempotency_key,
        hold_id=fields.id_of(message.hold_id, "hold_id"),
        wallet_id=fields.id_of(message.wallet_id, "wallet_id"),
    )


def _reserve_funds(message: commands_pb2.ReserveFunds, call: Call) -> ReserveFunds:
    has_expiry = message.HasField("expires_at")
    return ReserveFunds(
        service=call.service,
        traceparent=call.traceparent,
        idempotency_key=message.idempotency_key,
        hold_id=fields.id_of(message.hold_id, "hold_id"),
        wallet_id=fields.id_of(message.wallet_id, "wallet_id"),
        amount=_positive_money(message.amount),
        expires_at=fields.instant_of(message.expires_at, "expires_at") if has_expiry else None,
        commit=message.commit,
    )


def _capture_funds(message: commands_pb2.CaptureFunds, call: Call) -> CaptureFunds:
    return CaptureFunds(
        service=call.service,
        traceparent=call.traceparent,
        idempotency_key=message.idempotency_key,
        hold_id=fields.id_of(message.hold_id, "hold_id"),
        wallet_id=fields.id_of(message.wallet_id, "wallet_id"),
        capture_number=message.capture_number,
        amount=_positive_money(message.amount),
        allocations=allocations_of(message.allocations),
        final=message.final,
    )


def allocations_of(messages: Iterable[wallet_pb2.Allocation]) -> tuple[Allocation, ...]:
    """Read who gets what of a capture."""
    return tuple(
        Allocation(
            seller_id=fields.id_of(message.seller_id, "allocations.seller_id"),
            gross_minor=message.gross_minor,
            fee_basis_points=message.fee_basis_points,
        )
        for message in messages
    )


def _refund_capture(message: commands_pb2.RefundCapture, call: Call) -> RefundCapture:
    legs = tuple(
        RefundLeg(
            seller_id=fields.id_of(leg.seller_id, "legs.seller_id"),
            gross_minor=leg.gross_minor,
        )
        for leg in message.legs
    )
    return RefundCapture(
        service=call.service,
        traceparent=call.traceparent,
        idempotency_key=message.idempotency_key,
        hold_id=fields.id_of(message.hold_id, "hold_id"),
        wallet_id=fields.id_of(message.wallet_id, "wallet_id"),
        capture_number=message.capture_number,
        legs=legs,
    )


_READERS: Mapping[type[CommandMessage], Callable[[Any, Call], Command]] = {
    commands_pb2.OpenAccount: _open_account,
    commands_pb2.Deposit: _deposit,
    commands_pb2.ReserveFunds: _reserve_funds,
    commands_pb2.CommitHold: _commit_hold,
    commands_pb2.CaptureFunds: _capture_funds,
    commands_pb2.VoidHold: _void_hold,
    commands_pb2.RefundCapture: _refund_capture,
}


def receipt_message(receipt: Receipt) -> commands_pb2.Receipt:
    """Show a receipt."""
    return commands_pb2.Receipt(
        journal_sequence=receipt.journal_sequence,
        recorded_at=timestamp_message(receipt.recorded_at),
        hold=hold_message(receipt.hold) if receipt.hold is not None else None,
        replayed=receipt.replayed,
    )


def outcome_message(outcome: Receipt | TradeFlowError) -> commands_pb2.Outcome:
    """Show what became of one command of a batch."""
    if isinstance(outcome, TradeFlowError):
        return commands_pb2.Outcome(problem=problem_message(outcome))
    return commands_pb2.Outcome(receipt=receipt_message(outcome))


def problem_message(error: TradeFlowError) -> problem_pb2.Problem:
    """Show a refusal inside a batch's reply."""
    return problem_pb2.Problem(
        reason=error.reason,
        message=error.message,
        details=error.details,
        retryable=isinstance(error, UnavailableError),
    )


def statement_line_message(line: StatementLine, currency: str) -> ledger_pb2.StatementLine:
    """Show a line of a statement."""
    return ledger_pb2.StatementLine(
        journal_sequence=line.journal_sequence,
        account_sequence=line.account_sequence,
        recorded_at=timestamp_message(line.recorded_at),
        kind=line.kind,
        amount=money_pb2.Money(amount_minor=line.amount_minor, currency=currency),
        balance_minor=line.balance_minor,
        hold_id=str(line.hold_id) if line.hold_id is not None else "",
    )


def _positive_money(message: money_pb2.Money) -> Money:
    return fields.positive_money(message.amount_minor, message.currency)
