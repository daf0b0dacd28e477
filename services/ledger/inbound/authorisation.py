"""Who may ask the ledger for what, as pure rules.

A caller of the gRPC door is a service, known by a token for the audience "ledger", with or without the user it acts
for. See the comments of ledger_service.proto.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from services.ledger.commands.command import Command
from services.ledger.commands.deposit import Deposit
from services.ledger.commands.open_account import OpenAccount
from services.ledger.commands.reserve_funds import ReserveFunds
from services.runtime.errors import ForbiddenError
from services.runtime.jwt import Principal

AUDIENCE = "ledger"
"""What a service's token must be meant for."""

TREASURY_ROLE = "treasury"
"""The users who may bring money in from outside."""

ORDERS = "orders"
"""The service that runs orders: it alone moves held money."""

COMMANDERS_BY_COMMAND: Mapping[type[object], frozenset[str]] = {
    OpenAccount: frozenset({ORDERS, "treasury"}),
    Deposit: frozenset({ORDERS, "treasury"}),
}
"""Services that may send a command, by client id; commands that aren't named here are for `orders` alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A service, and the user it acts for, if any."""

    service: str
    user_id: str | None = None


def caller_of(service: Principal, user: Principal | None) -> Caller:
    """Make a caller of verified tokens.

    Raises:
        ForbiddenError: The first isn't a service's own token for the ledger (`service_token_required`), or the second
            isn't a user's (`user_token_required`).
    """
    if not service.is_service or service.audience != AUDIENCE:
        raise ForbiddenError("Only a service's token for the ledger is let in.", reason="service_token_required")
    if user is None:
        return Caller(service=service.subject)
    if user.is_service:
        raise ForbiddenError("x-user-authorization takes a user's token.", reason="user_token_required")
    return Caller(service=service.subject, user_id=user.subject)


def check_may_read_wallet(caller: Caller, wallet_id: UUID) -> None:
    """Let a service read for its background work, and for a user only the user's own wallet.

    Raises:
        ForbiddenError: `not_wallet_owner`.
    """
    if caller.user_id is not None and caller.user_id != str(wallet_id):
        raise ForbiddenError("The wallet belongs to another user.", reason="not_wallet_owner")


def check_may_command(caller: Caller, command: Command) -> None:
    """Check a command's sender, and that a reserve, which spends a user's money, comes with that user's own token.

    That holds in a batch too.

    Raises:
        ForbiddenError: `command_not_allowed`, `user_token_required` or `not_wallet_owner`.
    """
    commanders = COMMANDERS_BY_COMMAND.get(type(command), frozenset({ORDERS}))
    if caller.service not in commanders:
        raise ForbiddenError(f"The service {caller.service!r} may not send this command.", reason="command_not_allowed")
    if not isinstance(command, ReserveFunds):
        return
    if caller.user_id is None:
        raise ForbiddenError("A reserve needs the user's token in x-user-authorization.", reason="user_token_required")
    check_may_read_wallet(caller, command.wallet_id)
