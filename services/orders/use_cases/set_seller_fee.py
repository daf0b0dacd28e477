"""What the platform keeps of a seller's sales: set by operators, for orders that are placed from then on."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.orders.domain.actor import Actor
from services.orders.domain.earnings import BASIS_POINTS_WHOLE
from services.orders.domain.user import Role
from services.orders.ports import Store
from services.orders.selling_ports import SellerFee
from services.runtime.clock import Clock
from services.runtime.errors import ForbiddenError, InvalidArgumentError, NotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSellerFee:
    """Who sets whose fee, in basis points: 250 are 2.5 %."""

    actor: Actor
    seller_id: UUID
    fee_basis_points: int


async def set_seller_fee(wanted: SetSellerFee, *, store: Store, clock: Clock) -> SellerFee:
    """Set a seller's fee.

    Raises:
        ForbiddenError: Not an operator.
        InvalidArgumentError: `invalid_fee`.
    """
    if not wanted.actor.is_operator:
        raise ForbiddenError("Operators set fees.", reason="role_required")
    if not 0 <= wanted.fee_basis_points <= BASIS_POINTS_WHOLE:
        raise InvalidArgumentError(f"A fee is 0 to {BASIS_POINTS_WHOLE} basis points.", reason="invalid_fee")
    now: datetime = clock.now()
    fee = SellerFee(
        seller_id=wanted.seller_id,
        fee_basis_points=wanted.fee_basis_points,
        changed_by=wanted.actor.user_id,
        changed_at=now,
    )
    async with store.transaction() as rows:
        await rows.fees.save(fee)
    return fee


async def show_seller_fee(seller_id: UUID, *, actor: Actor, store: Store) -> SellerFee | None:
    """Show what a seller gives, to them and to operators; None: what the settings say.

    Raises:
        NotFoundError: `seller_not_found`: for everybody else.
    """
    if not actor.is_operator and (actor.user_id != seller_id or Role.MERCHANT not in actor.roles):
        raise NotFoundError("There is no such seller.", reason="seller_not_found")
    async with store.transaction() as rows:
        return await rows.fees.find(seller_id)
