"""Who may ask the ledger for what, as pure rules."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

import pytest

from services.ledger.commands.command import Command
from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.inbound.authorisation import Caller, caller_of, check_may_command, check_may_read_wallet
from services.runtime.errors import ForbiddenError
from services.runtime.jwt import Principal
from tests.support import ledger_commands as a
from tests.support.ledger_commands import BUYER, NOW, SELLER

ORDERS = Caller(service="orders")
EVERYTHING: list[Callable[[], Command]] = [a.open_account, a.deposit, a.reserve, a.commit, a.capture, a.void, a.refund]


def principal(subject: str, *roles: str, audience: str = "ledger") -> Principal:
    return Principal(
        subject=subject, roles=frozenset(roles), audience=audience, token_id="1", expires_at=NOW, token="secret"
    )


def test_a_service_calls_for_itself_or_for_a_user() -> None:
    orders = principal("orders", "service")

    assert caller_of(orders, None) == ORDERS
    assert caller_of(orders, principal(str(BUYER), "buyer", audience="tradeflow")).user_id == str(BUYER)


@pytest.mark.parametrize("stranger", [principal("orders"), principal("orders", "service", audience="tradeflow")])
def test_who_is_no_service_of_the_ledger_is_kept_out(stranger: Principal) -> None:
    with pytest.raises(ForbiddenError) as refusal:
        caller_of(stranger, None)

    assert refusal.value.reason == "service_token_required"


@pytest.mark.parametrize("command", EVERYTHING, ids=lambda command: command.__name__)
def test_orders_may_send_every_command(command: Callable[[], Command]) -> None:
    check_may_command(Caller(service="orders", user_id=str(BUYER)), command())


def test_a_reserve_without_its_user_is_refused() -> None:
    with pytest.raises(ForbiddenError) as refusal:
        check_may_command(ORDERS, a.reserve())

    assert refusal.value.reason == "user_token_required"


@pytest.mark.parametrize("command", EVERYTHING[2:], ids=lambda command: command.__name__)
@pytest.mark.parametrize("service", ["treasury", "gateway", "order-events", f"user:{BUYER}"])
def test_nobody_else_moves_held_money(service: str, command: Callable[[], Command]) -> None:
    with pytest.raises(ForbiddenError):
        check_may_command(Caller(service=service, user_id=str(BUYER)), command())


def test_a_user_reserves_only_the_own_money() -> None:
    check_may_command(Caller(service="orders", user_id=str(BUYER)), a.reserve(wallet=BUYER))

    with pytest.raises(ForbiddenError) as refusal:
        check_may_command(Caller(service="orders", user_id=str(SELLER)), a.reserve(wallet=BUYER))
    assert refusal.value.reason == "not_wallet_owner"


def test_a_user_whose_id_is_no_uuid_owns_nothing() -> None:
    with pytest.raises(ForbiddenError):
        check_may_read_wallet(Caller(service="gateway", user_id="admin"), UUID(int=0))


def test_no_service_but_orders_could_expire_holds_and_no_message_says_so() -> None:
    with pytest.raises(ForbiddenError):
        check_may_command(Caller(service="treasury"), ExpireHold(hold_id=BUYER))


TREASURY = Caller(service="treasury")
TREASURY_ALONE: list[Callable[[], Command]] = [a.transfer, a.set_limit, partial(a.reverse, 1)]


def for_user(service: str, *roles: str, user: UUID = BUYER) -> Caller:
    return Caller(service=service, user_id=str(user), user_roles=frozenset(roles))


@pytest.mark.parametrize("command", [*TREASURY_ALONE, a.withdraw])
@pytest.mark.parametrize("caller", [TREASURY, for_user("treasury", "treasury"), for_user("orders", "treasury")])
def test_the_treasury_moves_money_as_a_service_and_as_a_user(caller: Caller, command: Callable[[], Command]) -> None:
    check_may_command(caller, command())


@pytest.mark.parametrize(
    ("caller", "reason"),
    [
        (ORDERS, "user_token_required"),
        (for_user("orders", "buyer"), "role_required"),
        (for_user("treasury", "operator"), "role_required"),
        (for_user("gateway", "treasury"), "command_not_allowed"),
    ],
)
@pytest.mark.parametrize("command", TREASURY_ALONE)
def test_nobody_else_transfers_sets_limits_or_reverses(
    command: Callable[[], Command], caller: Caller, reason: str
) -> None:
    with pytest.raises(ForbiddenError) as refusal:
        check_may_command(caller, command())

    assert refusal.value.reason == reason


def test_a_user_withdraws_from_the_own_wallet() -> None:
    check_may_command(for_user("orders", "buyer"), a.withdraw(wallet=BUYER))


@pytest.mark.parametrize(
    ("caller", "reason"),
    [
        (for_user("orders", "buyer", user=SELLER), "not_wallet_owner"),
        (for_user("orders", "operator", user=SELLER), "not_wallet_owner"),
        (ORDERS, "user_token_required"),
        (for_user("gateway", "buyer"), "command_not_allowed"),
    ],
)
def test_nobody_else_withdraws(caller: Caller, reason: str) -> None:
    with pytest.raises(ForbiddenError) as refusal:
        check_may_command(caller, a.withdraw(wallet=BUYER))

    assert refusal.value.reason == reason


@pytest.mark.parametrize(("role", "sees_all"), [("buyer", False), ("merchant", False), ("operator", True)])
def test_operators_read_every_wallet_and_buyers_their_own(role: str, *, sees_all: bool) -> None:
    assert for_user("gateway", role).sees_all is sees_all
