"""What selling asks of the world, beside `ports`, which is for what moves orders."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.orders.list_part import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerFee:
    """What the platform keeps of a seller's sales, and who said so."""

    seller_id: UUID
    fee_basis_points: int
    changed_by: UUID
    changed_at: datetime


class FeeRows(Protocol):
    """Sellers' fees in one transaction."""

    async def find(self, seller_id: UUID) -> SellerFee | None:
        """Read a seller's fee; None where nobody set one."""
        ...

    async def save(self, fee: SellerFee) -> None:
        """Write a seller's fee."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """What one seller sold in one order: sums of their own lines, in minor units of its currency."""

    order_id: UUID
    state: str
    currency: str
    gross_minor: int
    refunded_minor: int
    fee_basis_points: int
    placed_at: datetime
    moved_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SaleFilter:
    """Which of a seller's sales, newest first: those between two ids, which order by time; neither is included."""

    seller_id: UUID
    states: Sequence[str]
    currency: str
    before: UUID
    after: UUID
    sales_max: int


class SellingReads(Protocol):
    """What sellers see of their sales. Without locks."""

    async def sales(self, sale_filter: SaleFilter) -> Part[Sale]:
        """Read sales, newest first."""
        ...
