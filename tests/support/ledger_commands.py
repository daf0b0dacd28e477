"""Builders of the ledger's commands: name what the test is about, the rest is filled in."""

from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID, uuid5

from services.ledger.commands.capture_hold import Allocation, CaptureFunds
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
from services.ledger.domain.account import AccountType
from services.money import Money

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""When the examples happen."""

_NAMES = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
_keys = count(1)


def an_id(name: str) -> UUID:
    """Make the id of a named person or order: the same name has the same id."""
    return uuid5(_NAMES, name)


BUYER, SELLER, OTHER_SELLER, STRANGER = map(an_id, ("buyer", "seller", "other seller", "stranger"))


def eur(amount_minor: int) -> Money:
    """Make euros, of cents."""
    return Money(amount_minor, "EUR")


def _call(fields: dict[str, Any]) -> dict[str, Any]:
    return {"service": "orders", "idempotency_key": f"key-{next(_keys)}", **fields}


def open_account(wallet: UUID = BUYER, currency: str = "EUR", **fields: Any) -> OpenAccount:
    """Build it."""
    return OpenAccount(wallet_id=wallet, currency=currency, **_call(fields))


def deposit(wallet: UUID = BUYER, amount: Money | int = 10_000, **fields: Any) -> Deposit:
    """Build it."""
    return Deposit(wallet_id=wallet, amount=eur(amount) if isinstance(amount, int) else amount, **_call(fields))


def withdraw(wallet: UUID = BUYER, amount: Money | int = 1_000, **fields: Any) -> Withdraw:
    """Build it."""
    return Withdraw(wallet_id=wallet, amount=eur(amount) if isinstance(amount, int) else amount, **_call(fields))


FUNDING, REVENUE, EXCHANGE = map(SystemRef, (AccountType.FUNDING, AccountType.REVENUE, AccountType.EXCHANGE))


def leg(account: UUID | AccountRef, amount: Money | int) -> TransferLeg:
    """Build a leg of a transfer; an id is a wallet's."""
    reference = WalletRef(account) if isinstance(account, UUID) else account
    return TransferLeg(reference, eur(amount) if isinstance(amount, int) else amount)


def transfer(*legs: TransferLeg, **fields: Any) -> Transfer:
    """Build it; without legs the buyer pays the seller."""
    return Transfer(legs=legs or (leg(BUYER, -1_000), leg(SELLER, 1_000)), **_call(fields))


def pay_off(amount: int, seller: UUID = SELLER, **fields: Any) -> Transfer:
    """Build the transfer by which a seller pays a debt off."""
    return transfer(leg(seller, -amount), leg(ReceivableRef(seller), amount), **fields)


def set_limit(wallet: UUID = BUYER, limit: int = 1_000, currency: str = "EUR", **fields: Any) -> SetLimit:
    """Build it."""
    return SetLimit(wallet_id=wallet, currency=currency, overdraft_limit_minor=limit, **_call(fields))


def reverse(sequence: int, **fields: Any) -> ReverseRecord:
    """Build it."""
    return ReverseRecord(journal_sequence=sequence, **_call(fields))


def reserve(hold: str = "order", amount: Money | int = 1_000, wallet: UUID = BUYER, **fields: Any) -> ReserveFunds:
    """Build it; committed unless it has an expiry."""
    fields.setdefault("commit", "expires_at" not in fields)
    return ReserveFunds(
        hold_id=an_id(hold),
        wallet_id=wallet,
        amount=eur(amount) if isinstance(amount, int) else amount,
        **_call(fields),
    )


def commit(hold: str = "order", wallet: UUID = BUYER, **fields: Any) -> CommitHold:
    """Build it."""
    return CommitHold(hold_id=an_id(hold), wallet_id=wallet, **_call(fields))


def void(hold: str = "order", wallet: UUID = BUYER, **fields: Any) -> VoidHold:
    """Build it."""
    return VoidHold(hold_id=an_id(hold), wallet_id=wallet, **_call(fields))


def capture(
    hold: str = "order",
    parts: dict[UUID, int] | int = 1_000,
    wallet: UUID = BUYER,
    *,
    fee: int = 250,
    number: int = 1,
    **fields: Any,
) -> CaptureFunds:
    """Build it: `parts` are the sellers' gross amounts, or one seller's."""
    sellers = {SELLER: parts} if isinstance(parts, int) else parts
    fields.setdefault("amount", eur(sum(sellers.values())))
    return CaptureFunds(
        hold_id=an_id(hold),
        wallet_id=wallet,
        capture_number=number,
        allocations=tuple(
            Allocation(seller_id=seller, gross_minor=gross, fee_basis_points=fee) for seller, gross in sellers.items()
        ),
        **_call(fields),
    )


def refund(
    hold: str = "order", parts: dict[UUID, int] | int = 1_000, wallet: UUID = BUYER, *, number: int = 1, **fields: Any
) -> RefundCapture:
    """Build it."""
    sellers = {SELLER: parts} if isinstance(parts, int) else parts
    return RefundCapture(
        hold_id=an_id(hold),
        wallet_id=wallet,
        capture_number=number,
        legs=tuple(RefundLeg(seller_id=seller, gross_minor=gross) for seller, gross in sellers.items()),
        **_call(fields),
    )
