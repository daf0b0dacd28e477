"""What the HTTP doors read out of requests: who asks, which order, which page."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from litestar.params import QueryParameter

from services.money import exponent_of
from services.orders.domain.actor import Actor, OrderNotFoundError
from services.orders.domain.order_state import OrderState
from services.orders.domain.product import check_sku
from services.orders.domain.user import Role
from services.runtime.clock import EPOCH
from services.runtime.errors import ForbiddenError, InvalidArgumentError, NotFoundError
from services.runtime.jwt import Principal

ITEMS_A_PAGE = 50
ITEMS_A_PAGE_MAX = 200
"""As for every list of the public API."""

VERSION_DIGITS_MAX = 18
"""What every database takes for a whole number."""

Limit = Annotated[int, QueryParameter(ge=1, le=ITEMS_A_PAGE_MAX, description="How many items at most.")]
"""The type of a parameter `limit`."""

Cursor = Annotated[str, QueryParameter(description="Where the page before ended: its `next_cursor`.", max_length=128)]
"""The type of a parameter `cursor`."""

_ROLES = {role.value: role for role in Role}


def actor_of(principal: Principal) -> Actor:
    """Tell which user asks; roles that orders doesn't know give no rights.

    Raises:
        ForbiddenError: `user_token_required`: a service asks for itself.
    """
    try:
        user_id = UUID(principal.subject)
    except ValueError:
        user_id = None
    if user_id is None or principal.is_service:
        raise ForbiddenError("Only users may do this.", reason="user_token_required")
    return Actor(user_id=user_id, roles=frozenset(_ROLES[role] for role in principal.roles if role in _ROLES))


def order_id_of(text: str) -> UUID:
    """Read an order's id from a path.

    Raises:
        OrderNotFoundError: There can't be an order of this id.
    """
    try:
        return UUID(text)
    except ValueError as error:
        raise OrderNotFoundError("There is no such order.") from error


def order_cursor_of(cursor: str) -> UUID | None:
    """Read the id of the last order of the page before.

    Raises:
        InvalidArgumentError: `cursor_malformed`.
    """
    if not cursor:
        return None
    try:
        return UUID(cursor)
    except ValueError as error:
        raise _malformed_cursor() from error


def version_cursor_of(cursor: str) -> int:
    """Read the version of the last move of the page before; 0 for the first page.

    Raises:
        InvalidArgumentError: `cursor_malformed`.
    """
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= VERSION_DIGITS_MAX):
        raise _malformed_cursor()
    return int(cursor)


def sku_cursor_of(cursor: str) -> str:
    """Read the sku of the last product of the page before.

    Raises:
        InvalidArgumentError: `cursor_malformed`.
    """
    if cursor:
        try:
            check_sku(cursor)
        except InvalidArgumentError as error:
            raise _malformed_cursor() from error
    return cursor


def state_of(word: str) -> OrderState | None:
    """Read the state that a list is filtered by.

    Raises:
        InvalidArgumentError: `unknown_state`.
    """
    if not word:
        return None
    try:
        return OrderState(word)
    except ValueError as error:
        words = ", ".join(state.value for state in OrderState)
        raise InvalidArgumentError(f"A state is one of {words}.", reason="unknown_state") from error


def seller_id_of(text: str) -> UUID:
    """Read a seller's id from a path.

    Raises:
        NotFoundError: `seller_not_found`: there can't be a seller of this id.
    """
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFoundError("There is no such seller.", reason="seller_not_found") from error


def currency_of(code: str) -> str:
    """Read the currency that sums are asked for in; without one, sums of several would be added up as if of one.

    Raises:
        InvalidArgumentError: `unknown_asset`.
    """
    exponent_of(code)
    return code


def instant_of(text: str) -> datetime | None:
    """Read an instant that a list is bounded by; none where nothing is said.

    Raises:
        InvalidArgumentError: `instant_malformed`.
    """
    if not text:
        return None
    try:
        told = datetime.fromisoformat(text)
        instant = None if told.tzinfo is None else told.astimezone(UTC)
    except (ValueError, OverflowError):
        instant = None
    if instant is None or instant < EPOCH:
        raise InvalidArgumentError("An instant is as 2026-01-31T12:00:00Z.", reason="instant_malformed")
    return instant


def _malformed_cursor() -> InvalidArgumentError:
    return InvalidArgumentError("The cursor isn't one that a page gave.", reason="cursor_malformed")
