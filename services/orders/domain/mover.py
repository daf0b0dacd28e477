"""Who moves orders, as an order's history names them."""

from typing import Final
from uuid import UUID

LEDGER: Final = "ledger"
"""A fact of the ledger, read from its events."""

RECONCILER: Final = "reconciler"
"""Orders itself: time ran out, or something was left in the middle."""

ANOTHER_SELLER: Final = "seller"
"""Somebody who sells in the same order, as a seller sees them: not who."""


def user(user_id: UUID) -> str:
    """Name a user: a buyer, a seller or an operator."""
    return f"user:{user_id}"
