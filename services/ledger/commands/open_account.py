"""Open a wallet's account in one currency. Opening an open account is success."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from services.ledger.commands.outcome import Draft, Outcome, accepted, already_true
from services.ledger.commands.shape import KeyedCommand
from services.ledger.commands.state import BookState
from services.ledger.domain.account import wallet_account_code
from services.ledger.domain.canonical import Field
from services.money import exponent_of


class OpenAccount(KeyedCommand, frozen=True, kw_only=True, gc=False):
    """See the module."""

    kind: ClassVar[str] = "open_account"

    wallet_id: UUID
    currency: str

    def content(self) -> tuple[Field, ...]:
        """List what the command asks."""
        return (self.wallet_id, self.currency)

    def check_shape(self) -> None:
        """Guard: the asset is known (unknown_asset)."""
        exponent_of(self.currency)


def decide_open_account(state: BookState, command: OpenAccount, now: datetime) -> Outcome:
    """Open the account, unless it is open."""
    if wallet_account_code(command.wallet_id, command.currency) in state.accounts:
        return already_true(state, now)
    draft = Draft(state, now, command)
    draft.open_wallet_account(command.wallet_id, command.currency)
    return accepted(draft)
