"""Who may ask the ledger for what, as pure rules.

A caller of the gRPC door is a service, known by a token for the audience "ledger", with or without the user it acts
for. See the comments of ledger_service.proto.
"""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from msgspec import Struct

from services.ledger.commands.command import Command
from services.ledger.commands.deposit import Deposit
from services.ledger.commands.open_account import OpenAccount
from services.ledger.commands.reserve_funds import ReserveFunds
from services.ledger.commands.reverse_record import ReverseRecord
from services.ledger.commands.set_limit import SetLimit
from services.ledger.commands.transfer import Transfer
from services.ledger.commands.withdraw import Withdraw
from services.runtime.errors import ForbiddenError
from services.runtime.jwt import Principal

AUDIENCE = "ledger"
"""What a service's token must be meant for."""

TREASURY_ROLE = "treasury"
"""The users who may bring money in from outside, and move it."""

OPERATOR_ROLE = "operator"
"""The users who may look at everything."""

READING_ROLES = frozenset({TREASURY_ROLE, OPERATOR_ROLE})
"""The users who see more than their own wallet."""

ORDERS = "orders"
"""The service that runs orders: it alone moves held money."""

TREASURY = "treasury"
"""The service that moves money between the platform and the world."""

_ORDERS_ALONE = frozenset({ORDERS})
_ORDERS_AND_TREASURY = frozenset({ORDERS, TREASURY})

COMMANDERS_BY_COMMAND: Mapping[type[object], frozenset[str]] = dict.fromkeys(
    (OpenAccount, Deposit, Withdraw, Transfer, SetLimit, ReverseRecord), _ORDERS_AND_TREASURY
)
"""Services that may send a command, by client id; commands that aren't named here are for `orders` alone."""


class Caller(Struct, frozen=True, kw_only=True):
    """A service, and the user it acts for, if any, with the user's roles."""

    service: str
    user_id: str | None = None
    user_roles: frozenset[str] = frozenset()

    @property
    def sees_all(self) -> bool:
        """Tell whether reads show more than the user's own wallet."""
        return self.user_id is None or not self.user_roles.isdisjoint(READING_ROLES)


def caller_of(service: Principal, user: Principal | None) -> Caller:
    """Make a caller of verified tokens.

    Raises:
        ForbiddenError: The first isn't a service's own token for the ledger (`service_token_required`), or the second
            isn't a user's (`user_token_required`).
    """
    if not service.is_service or service.audience != AUDIENCE:
        raise ForbiddenError("Only a service's token for the ledger is let in.", reason="service_token_required")
    return Caller(service=service.subject) if user is None else for_user(Caller(service=service.subject), user)


def for_user(caller: Caller, user: Principal) -> Caller:
    """Make the same service act for a user.

    Raises:
        ForbiddenError: The token isn't a user's (`user_token_required`).
    """
    if user.is_service:
        raise ForbiddenError("A user's token is needed here.", reason="user_token_required")
    return Caller(service=caller.service, user_id=user.subject, user_roles=user.roles)


def check_may_read_wallet(caller: Caller, wallet_id: UUID) -> None:
    """Let a service read for its background work, and for a user only the user's own wallet.

    Raises:
        ForbiddenError: `not_wallet_owner`.
    """
    if not caller.sees_all:
        _require_owner(caller, wallet_id)


def check_may_command(caller: Caller, command: Command) -> None:
    """Check a command's sender, and that a command which spends a user's money comes with the token that it needs.

    That holds in a batch too.

    Raises:
        ForbiddenError: `command_not_allowed`, `user_token_required`, `not_wallet_owner` or `role_required`.
    """
    commanders = COMMANDERS_BY_COMMAND.get(type(command), _ORDERS_ALONE)
    if caller.service not in commanders:
        raise ForbiddenError(f"The service {caller.service!r} may not send this command.", reason="command_not_allowed")
    check_user = _USER_CHECKS.get(type(command))
    if check_user is not None:
        check_user(caller, command)


def _check_reserve(caller: Caller, command: ReserveFunds) -> None:
    """Only the buyer can agree to that."""
    _require_user(caller)
    _require_owner(caller, command.wallet_id)


def _check_withdraw(caller: Caller, command: Withdraw) -> None:
    if not _is_treasury(caller):
        _require_owner(caller, command.wallet_id)


def _check_treasury(caller: Caller, _command: Transfer | SetLimit | ReverseRecord) -> None:
    if not _is_treasury(caller):
        raise ForbiddenError(
            f"This needs the role {TREASURY_ROLE}.", reason="role_required", details={"roles": TREASURY_ROLE}
        )


def _is_treasury(caller: Caller) -> bool:
    """Tell whether the treasury commands: the service for itself, or a user with the role."""
    if caller.user_id is None and caller.service == TREASURY:
        return True
    _require_user(caller)
    return TREASURY_ROLE in caller.user_roles


def _require_user(caller: Caller) -> None:
    if caller.user_id is None:
        raise ForbiddenError("This needs the token of the user it is for.", reason="user_token_required")


def _require_owner(caller: Caller, wallet_id: UUID) -> None:
    if caller.user_id != str(wallet_id):
        raise ForbiddenError("The wallet belongs to another user.", reason="not_wallet_owner")


_USER_CHECKS: Mapping[type[object], Callable[[Caller, Any], None]] = {
    ReserveFunds: _check_reserve,
    Withdraw: _check_withdraw,
    Transfer: _check_treasury,
    SetLimit: _check_treasury,
    ReverseRecord: _check_treasury,
}
"""What a command asks of its user; the others ask nothing."""
