"""A product: what a merchant sells, at which price, and how much of it there is."""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from services.money import Money
from services.orders.domain.order import OrderLine
from services.runtime.errors import InvalidArgumentError, RefusedError

SKU_CHARACTERS_MAX: Final = 64
"""The longest sku: the width of its column."""

TITLE_CHARACTERS_MAX: Final = 200
"""The longest title: the width of its column."""

STOCK_MAX: Final = 1_000_000_000
"""The most pieces that are counted; a merchant with more leaves the stock untracked."""

_SKU = re.compile(rf"(?!\.{{1,2}}\Z)[A-Za-z0-9._@:+-]{{1,{SKU_CHARACTERS_MAX}}}", re.ASCII)


class OutOfStockError(RefusedError):
    """Fewer pieces are left than were ordered."""

    default_reason = "out_of_stock"


class UnknownSkuError(RefusedError):
    """Nobody sells a product of this name."""

    default_reason = "unknown_sku"


class StockChangedError(RefusedError):
    """There are more pieces, or fewer, than somebody took for granted."""

    default_reason = "stock_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product as it is now; `stock` is None where nobody counts."""

    sku: str
    title: str
    price: Money
    seller_id: UUID
    stock: int | None
    created_at: datetime
    updated_at: datetime
    fee_basis_points: int | None = None
    """What the platform keeps of this seller's sales, where that isn't what the settings say."""

    def take(self, quantity: int) -> "Product":
        """Set pieces aside for an order; an untracked product always has enough.

        Raises:
            OutOfStockError: Fewer are left.
        """
        if self.stock is None:
            return self
        if quantity > self.stock:
            raise OutOfStockError(
                f"Only {self.stock} of {self.sku} are left.", details={"sku": self.sku, "stock": str(self.stock)}
            )
        return replace(self, stock=self.stock - quantity)

    def check_stock(self, expected: int | None) -> None:
        """Let a product pass of which there are so many pieces, or which nobody counts where that is expected.

        Raises:
            StockChangedError: It has another stock.
        """
        if self.stock != expected:
            raise StockChangedError(
                f"The stock of {self.sku} is {_stock_text(self.stock)}, not {_stock_text(expected)}.",
                details={"expected_stock": _stock_text(expected), "stock": _stock_text(self.stock)},
            )

    def line(self, line_number: int, quantity: int) -> OrderLine:
        """Put so many pieces on an order, at today's price."""
        return OrderLine(
            line_number=line_number,
            sku=self.sku,
            title=self.title,
            quantity=quantity,
            unit_price=self.price,
            seller_id=self.seller_id,
            stock_tracked=self.stock is not None,
            fee_basis_points=self.fee_basis_points,
        )


def _stock_text(stock: int | None) -> str:
    """Write a stock as JSON does."""
    return "null" if stock is None else str(stock)


def check_sku(sku: str) -> None:
    """Let a well-formed sku pass: no dot alone, and no two, which mean something else in a path.

    Raises:
        InvalidArgumentError: `invalid_sku`.
    """
    if not _SKU.fullmatch(sku):
        raise InvalidArgumentError(
            f"A sku is 1 to {SKU_CHARACTERS_MAX} of the characters A-Z a-z 0-9 . _ @ : + -", reason="invalid_sku"
        )


def check_product(product: Product) -> Product:
    """Return the product if all of it makes sense.

    Raises:
        InvalidArgumentError: `invalid_sku`, `invalid_title`, `invalid_amount`, `invalid_stock`.
    """
    check_sku(product.sku)
    if not 1 <= len(product.title.strip()) <= len(product.title) <= TITLE_CHARACTERS_MAX:
        raise InvalidArgumentError(f"A title has 1 to {TITLE_CHARACTERS_MAX} characters.", reason="invalid_title")
    if not product.title.isprintable():
        raise InvalidArgumentError("A title has printable characters only.", reason="invalid_title")
    if product.price.amount_minor < 1:
        raise InvalidArgumentError("A price is at least one minor unit.", reason="invalid_amount")
    if product.stock is not None and not 0 <= product.stock <= STOCK_MAX:
        raise InvalidArgumentError(f"Stock is 0 to {STOCK_MAX}, or null.", reason="invalid_stock")
    return product
