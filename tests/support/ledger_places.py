"""One account under its two names: the ledger's code, and the model's tuple."""

from uuid import UUID

from services.ledger.commands.transfer import AccountRef, ReceivableRef, SystemRef
from services.ledger.domain.account import AccountType
from tests.support.ledger_commands import an_id
from tests.support.ledger_model import Place, owed, system, wallet

PEOPLE = ("ann", "bob", "cid")
"""Who has wallets; their ids are `an_id` of their names."""


def reference_of(place: Place) -> UUID | AccountRef:
    """Name an account as a transfer does."""
    kind, name, _ = place
    if kind == "system":
        return SystemRef(AccountType(name))
    return an_id(name) if kind == "wallet" else ReceivableRef(an_id(name))


def place_of(code: str) -> Place:
    """Name an account as the model does."""
    kind, owner, currency = code.split(":")
    if kind == "system":
        return system(owner, currency)
    name = next(name for name in PEOPLE if str(an_id(name)) == owner)
    return wallet(name, currency) if kind == "wallet" else owed(name, currency)
