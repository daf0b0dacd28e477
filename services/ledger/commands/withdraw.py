"""Pay money out: the wallet pays, the funding account receives."""

from datetime import datetime
from typing import ClassVar

from services.ledger.commands.guards import require_effective_by, require_open_account
from services.ledger.commands.outcome import Draft, Outcome, accepted
from services.ledger.commands.outside_money import OutsideMoney
from services.ledger.commands.shape import require_positive
from services.ledger.commands.state import BookState
from services.ledger.domain.account import AccountType
from services.ledger.domain.journal import RecordKind
from services.ledger.domain.wallet_event import FundsWithdrawn


class Withdraw(OutsideMoney, frozen=True, kw_only=True, gc=False):
    """See the module."""

    kind: ClassVar[str] = "withdraw"


def decide_withdraw(state: BookState, command: Withdraw, now: datetime) -> Outcome:
    """Pay the funding account from the wallet.

    Guards in order: account open (account_not_open), asset (a `Money` has a known one), amount (invalid_amount),
    effective date (effective_in_the_future), available (insufficient_funds), overflow (balance_overflow).
    """
    amount = command.amount
    account = require_open_account(state, command.wallet_id, amount.currency)
    require_positive(amount.amount_minor)
    require_effective_by(command.effective_at, now)
    account.require_available(amount.amount_minor)

    draft = Draft(state, now, command, effective_at=command.effective_at)
    funding = draft.open_system_account(AccountType.FUNDING, amount.currency)
    postings = draft.post([(account.code, -amount.amount_minor), (funding.code, amount.amount_minor)])
    draft.record(RecordKind.WITHDRAW, postings=postings)
    draft.emit(command.wallet_id, account, FundsWithdrawn(amount))
    return accepted(draft)
