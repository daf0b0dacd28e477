"""Bring money in from outside: the funding account pays, the wallet receives. Opens the account if need be."""

from datetime import datetime
from typing import ClassVar

from services.ledger.commands.guards import require_effective_by
from services.ledger.commands.outcome import Draft, Outcome, accepted
from services.ledger.commands.outside_money import OutsideMoney
from services.ledger.commands.shape import require_positive
from services.ledger.commands.state import BookState
from services.ledger.domain.account import AccountType
from services.ledger.domain.journal import RecordKind
from services.ledger.domain.wallet_event import FundsDeposited


class Deposit(OutsideMoney, frozen=True, kw_only=True, gc=False):
    """See the module."""

    kind: ClassVar[str] = "deposit"


def decide_deposit(state: BookState, command: Deposit, now: datetime) -> Outcome:
    """Pay the wallet from the funding account.

    Guards in order: amount (invalid_amount), effective date (effective_in_the_future), overflow (balance_overflow).
    """
    amount = command.amount
    require_positive(amount.amount_minor)
    require_effective_by(command.effective_at, now)

    draft = Draft(state, now, command, effective_at=command.effective_at)
    funding = draft.open_system_account(AccountType.FUNDING, amount.currency)
    account = draft.open_wallet_account(command.wallet_id, amount.currency)
    postings = draft.post([(funding.code, -amount.amount_minor), (account.code, amount.amount_minor)])
    draft.record(RecordKind.DEPOSIT, postings=postings)
    draft.emit(command.wallet_id, account, FundsDeposited(amount))
    return accepted(draft)
