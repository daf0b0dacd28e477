"""What a buyer asks for, before any price is known."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.orders.domain.order import LINES_MAX, QUANTITY_MAX
from services.orders.domain.product import check_sku
from services.runtime.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """So many pieces of a product."""

    sku: str
    quantity: int


def check_wishes(wishes: Sequence[Wish]) -> None:
    """Let a well-formed list pass: 1 to 1,000 lines, each product once, sane quantities.

    Raises:
        InvalidArgumentError: `invalid_lines`, `invalid_quantity`, `invalid_sku`, `duplicate_sku`.
    """
    if not 1 <= len(wishes) <= LINES_MAX:
        raise InvalidArgumentError(f"An order has 1 to {LINES_MAX} lines.", reason="invalid_lines")
    seen: set[str] = set()
    for wish in wishes:
        check_sku(wish.sku)
        if not 1 <= wish.quantity <= QUANTITY_MAX:
            raise InvalidArgumentError(f"A quantity is 1 to {QUANTITY_MAX}.", reason="invalid_quantity")
        if wish.sku in seen:
            raise InvalidArgumentError(
                "A product stands on one line only.", reason="duplicate_sku", details={"sku": wish.sku}
            )
        seen.add(wish.sku)
