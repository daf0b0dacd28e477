"""Say how far below zero a wallet's account may go. Opens the account if need be."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from services.ledger.commands.outcome import Draft, Outcome, accepted, already_true
from services.ledger.commands.shape import KeyedCommand
from services.ledger.commands.state import BookState
from services.ledger.domain.account import Account, wallet_account_code
from services.ledger.domain.canonical import Field
from services.ledger.domain.journal import RecordKind
from services.ledger.domain.refusals import InvalidAmountError, LimitInUseError
from services.ledger.domain.wallet_event import LimitChanged
from services.money import AMOUNT_MINOR_MAX, exponent_of


class SetLimit(KeyedCommand, frozen=True, kw_only=True, gc=False):
    """See the module; the limit is in minor units, and 0 takes it away."""

    kind: ClassVar[str] = "set_limit"

    wallet_id: UUID
    currency: str
    overdraft_limit_minor: int

    def content(self) -> tuple[Field, ...]:
        """List what the command asks."""
        return (self.wallet_id, self.currency, self.overdraft_limit_minor)

    def check_shape(self) -> None:
        """Guard: the limit is 0 to 2^53 - 1 (invalid_amount), the asset is known (unknown_asset)."""
        if not 0 <= self.overdraft_limit_minor <= AMOUNT_MINOR_MAX:
            raise InvalidAmountError(f"A limit is not negative and at most {AMOUNT_MINOR_MAX}.")
        exponent_of(self.currency)


def decide_set_limit(state: BookState, command: SetLimit, now: datetime) -> Outcome:
    """Set the limit; one that is set already is success.

    Guards in order: the limit covers what is in use (limit_in_use).
    """
    account = state.accounts.get(wallet_account_code(command.wallet_id, command.currency))
    if account is not None:
        if account.overdraft_limit == command.overdraft_limit_minor:
            return already_true(state, now)
        _require_unused(account, command.overdraft_limit_minor)

    draft = Draft(state, now, command)
    before = draft.open_wallet_account(command.wallet_id, command.currency)
    if before.overdraft_limit != command.overdraft_limit_minor:
        changed = draft.set_limit(before, command.overdraft_limit_minor)
        draft.record(RecordKind.LIMIT_SET, account=changed)
        draft.emit(command.wallet_id, changed, LimitChanged(before.overdraft_limit))
    return accepted(draft)


def _require_unused(account: Account, overdraft_limit_minor: int) -> None:
    in_use_minor = account.overdraft_limit - account.available_minor
    if overdraft_limit_minor < in_use_minor:
        raise LimitInUseError(
            f"{in_use_minor} minor units of the limit are in use.",
            details={"overdraft_limit_minor_min": str(in_use_minor)},
        )
