"""From the contract's messages to commands: nothing else here knows both.

Each field is checked (see fields.py); a command that comes out is well-formed.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from services.ledger.commands.capture_hold import Allocation, CaptureFunds
from services.ledger.commands.command import Command
from services.ledger.commands.commit_hold import CommitHold
from services.ledger.commands.deposit import Deposit
from services.ledger.commands.open_account import OpenAccount
from services.ledger.commands.refund_capture import RefundCapture, RefundLeg
from services.ledger.commands.reserve_funds import ReserveFunds
from services.ledger.commands.reverse_record import ReverseRecord
from services.ledger.commands.set_limit import SetLimit
from services.ledger.commands.transfer import AccountRef, ReceivableRef, SystemRef, Transfer, TransferLeg, WalletRef
from services.ledger.commands.void_hold import VoidHold
from services.ledger.commands.withdraw import Withdraw
from services.ledger.inbound import fields
from services.ledger.inbound.read_messages import ACCOUNT_TYPES
from services.money import Money
from services.runtime.errors import InvalidArgumentError
from tradeflow.common.v1 import money_pb2, wallet_pb2
from tradeflow.ledger.v1 import commands_pb2, ledger_pb2

CommandMessage = (
    commands_pb2.OpenAccount
    | commands_pb2.Deposit
    | commands_pb2.ReserveFunds
    | commands_pb2.CommitHold
    | commands_pb2.CaptureFunds
    | commands_pb2.VoidHold
    | commands_pb2.RefundCapture
    | commands_pb2.Withdraw
    | commands_pb2.Transfer
    | commands_pb2.SetLimit
    | commands_pb2.ReverseRecord
)
"""Every command as the contract spells it."""

FIELD_OF_REASON: Mapping[str, str] = {
    "idempotency_key_malformed": "idempotency_key",
    "metadata_malformed": "metadata",
    "note_too_long": "note",
    "invalid_amount": "amount",
    "unknown_asset": "currency",
    "capture_number_malformed": "capture_number",
    "journal_sequence_malformed": "journal_sequence",
    "legs_malformed": "legs",
    "legs_unbalanced": "legs",
    "allocations_mismatch": "allocations",
}
"""The field to blame for what commands find wrong with their own shape."""

FIELD_INSTEAD: Mapping[tuple[str, str], str] = {
    ("currency", "amount"): "amount.currency",
    ("currency", "legs"): "legs.amount.currency",
    ("amount", "legs"): "legs",
    ("amount", "overdraft_limit_minor"): "overdraft_limit_minor",
}
"""Where a message hasn't the first field and has the second: the field to blame then."""


class Call(Struct, frozen=True, kw_only=True):
    """What a command takes from its call, or from the ledger's settings, rather than from its message."""

    service: str
    """The scope of its key: the caller's name."""

    traceparent: str = ""

    shortfall_to_receivable: bool = False
    """What a seller can't give back is charged to the seller's receivable account, instead of a refusal."""


def command_of(message: CommandMessage, call: Call) -> Command:
    """Make a command of one message.

    Raises:
        InvalidArgumentError: A field can never be right; the reason says what, and `field` in the details which.
    """
    try:
        return _READERS[type(message)](message, call)
    except InvalidArgumentError as error:
        field = _field_to_blame(error.reason, message)
        if field is not None:
            error.details.setdefault("field", field)
        raise


def _field_to_blame(reason: str, message: CommandMessage) -> str | None:
    field, has = FIELD_OF_REASON.get(reason), message.DESCRIPTOR.fields_by_name
    if field is None or field in has:
        return field
    return next((instead for (lacks, other), instead in FIELD_INSTEAD.items() if lacks == field and other in has), None)


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
        **_common(message, call),
        wallet_id=fields.id_of(message.wallet_id, "wallet_id"),
        currency=message.currency,
    )


def _deposit(message: commands_pb2.Deposit, call: Call) -> Deposit:
    return Deposit(
        **_common(message, call),
        wallet_id=fields.id_of(message.wallet_id, "wallet_id"),
        amount=_positive_money(message.amount),
        note=message.note,
        effective_at=_effective_at(message),
    )


def _withdraw(message: commands_pb2.Withdraw, call: Call) -> Withdraw:
    return Withdraw(
        **_common(message, call),
        wallet_id=fields.id_of(message.wallet_id, "wallet_id"),
        amount=_positive_money(message.amount),
        note=message.note,
        effective_at=_effective_at(message),
    )


def _transfer(message: commands_pb2.Transfer, call: Call) -> Transfer:
    return Transfer(
        **_common(message, call),
        legs=tuple(map(_transfer_leg, message.legs)),
        effective_at=_effective_at(message),
    )


def _transfer_leg(leg: ledger_pb2.TransferLeg) -> TransferLeg:
    amount, wallet_id = leg.amount, leg.wallet_id
    account = WalletRef(fields.id_of(wallet_id, "legs.wallet_id")) if wallet_id else _account_ref(leg)
    return TransferLeg(account, Money(amount.amount_minor, amount.currency))


def _account_ref(leg: ledger_pb2.TransferLeg) -> AccountRef:
    match leg.WhichOneof("account"):
        case "wallet_id":
            return WalletRef(fields.id_of(leg.wallet_id, "legs.wallet_id"))
        case "receivable_seller_id":
            return ReceivableRef(fields.id_of(leg.receivable_seller_id, "legs.receivable_seller_id"))
        case "system_account" if leg.system_account in ACCOUNT_TYPES:
            return SystemRef(ACCOUNT_TYPES[leg.system_account])
        case _:
            raise InvalidArgumentError("A leg names no account.", reason="legs_malformed")


def _set_limit(message: commands_pb2.SetLimit, call: Call) -> SetLimit:
    return SetLimit(
        **_common(message, call),
        wallet_id=fields.id_of(message.wallet_id, "wallet_id"),
        currency=message.currency,
        overdraft_limit_minor=message.overdraft_limit_minor,
    )


def _reverse_record(message: commands_pb2.ReverseRecord, call: Call) -> ReverseRecord:
    return ReverseRecord(
        **_common(message, call),
        journal_sequence=message.journal_sequence,
        shortfall_to_receivable=call.shortfall_to_receivable,
    )


def _commit_hold(message: commands_pb2.CommitHold, call: Call) -> CommitHold:
    return CommitHold(**_common(message, call), **_hold_ids(message))


def _void_hold(message: commands_pb2.VoidHold, call: Call) -> VoidHold:
    return VoidHold(**_common(message, call), **_hold_ids(message))


def _reserve_funds(message: commands_pb2.ReserveFunds, call: Call) -> ReserveFunds:
    has_expiry = message.HasField("expires_at")
    return ReserveFunds(
        **_common(message, call),
        **_hold_ids(message),
        amount=_positive_money(message.amount),
        expires_at=fields.instant_of(message.expires_at, "expires_at") if has_expiry else None,
        commit=message.commit,
    )


def _capture_funds(message: commands_pb2.CaptureFunds, call: Call) -> CaptureFunds:
    return CaptureFunds(
        **_common(message, call),
        **_hold_ids(message),
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
    return RefundCapture(
        **_common(message, call),
        **_hold_ids(message),
        capture_number=message.capture_number,
        legs=tuple(
            RefundLeg(seller_id=fields.id_of(leg.seller_id, "legs.seller_id"), gross_minor=leg.gross_minor)
            for leg in message.legs
        ),
        shortfall_to_receivable=call.shortfall_to_receivable,
    )


def _common(message: CommandMessage, call: Call) -> dict[str, Any]:
    """Read what every command has."""
    common: dict[str, Any] = {
        "service": call.service,
        "traceparent": call.traceparent,
        "idempotency_key": message.idempotency_key,
    }
    if message.metadata:
        common["metadata"] = dict(message.metadata)
    if message.dry_run:
        common["dry_run"] = True
    return common


def _hold_ids(
    message: commands_pb2.ReserveFunds
    | commands_pb2.CommitHold
    | commands_pb2.CaptureFunds
    | commands_pb2.VoidHold
    | commands_pb2.RefundCapture,
) -> dict[str, Any]:
    return {
        "hold_id": fields.id_of(message.hold_id, "hold_id"),
        "wallet_id": fields.id_of(message.wallet_id, "wallet_id"),
    }


def _effective_at(message: commands_pb2.Deposit | commands_pb2.Withdraw | commands_pb2.Transfer) -> datetime | None:
    return fields.instant_of(message.effective_at, "effective_at") if message.HasField("effective_at") else None


def _positive_money(message: money_pb2.Money) -> Money:
    return fields.positive_money(message.amount_minor, message.currency)


_READERS: Mapping[type[CommandMessage], Callable[[Any, Call], Command]] = {
    commands_pb2.OpenAccount: _open_account,
    commands_pb2.Deposit: _deposit,
    commands_pb2.Withdraw: _withdraw,
    commands_pb2.Transfer: _transfer,
    commands_pb2.SetLimit: _set_limit,
    commands_pb2.ReverseRecord: _reverse_record,
    commands_pb2.ReserveFunds: _reserve_funds,
    commands_pb2.CommitHold: _commit_hold,
    commands_pb2.CaptureFunds: _capture_funds,
    commands_pb2.VoidHold: _void_hold,
    commands_pb2.RefundCapture: _refund_capture,
}
