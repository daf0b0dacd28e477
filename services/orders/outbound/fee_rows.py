"""Sellers' fees in a transaction."""

from typing import Final
from uuid import UUID

from services.orders.selling_ports import SellerFee
from services.runtime.clock import from_micros, to_micros
from services.runtime.database.port import Connection

_READ: Final = "SELECT fee_basis_points, changed_by, changed_at FROM seller_fees WHERE seller_id = $1"

_SAVE: Final = """
    INSERT INTO seller_fees (seller_id, fee_basis_points, changed_by, changed_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (seller_id) DO UPDATE SET fee_basis_points = EXCLUDED.fee_basis_points,
        changed_by = EXCLUDED.changed_by, changed_at = EXCLUDED.changed_at
"""


class SqlFeeRows:
    """Fits `FeeRows`."""

    def __init__(self, connection: Connection) -> None:
        """Work in one transaction."""
        self._connection = connection

    async def find(self, seller_id: UUID) -> SellerFee | None:
        """Read a seller's fee; None where nobody set one."""
        rows = await self._connection.fetch(_READ, seller_id)
        if not rows:
            return None
        fee_basis_points, changed_by, changed_at = rows[0]
        return SellerFee(
            seller_id=seller_id,
            fee_basis_points=fee_basis_points,
            changed_by=changed_by,
            changed_at=from_micros(changed_at),
        )

    async def save(self, fee: SellerFee) -> None:
        """Write a seller's fee."""
        await self._connection.execute(
            _SAVE, fee.seller_id, fee.fee_basis_points, fee.changed_by, to_micros(fee.changed_at)
        )
