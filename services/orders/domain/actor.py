"""Who asks, and what that one may do with an order.

Buyers see their own orders, sellers the orders with a line of theirs, operators all. For everybody else an order isn't
there at all. A seller learns nothing of what others sold in the same order.
"""

from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from services.orders.domain.order import Order, OrderLine, Rejection
from services.orders.domain.refund import Refund
from services.orders.domain.user import Role
from services.runtime.errors import ForbiddenError, NotFoundError

OTHERS_REFUSALS: Final = {"insufficient_funds": "A seller has less than the refund takes."}
"""What is said of a refund that another one was to pay, by the ledger's reason; of other reasons, that it refused."""


class OrderNotFoundError(NotFoundError):
    """No such order, or not for this caller."""

    default_reason = "order_not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A signed-in user."""

    user_id: UUID
    roles: frozenset[Role]

    @property
    def is_operator(self) -> bool:
        """Whether this one watches the platform."""
        return Role.OPERATOR in self.roles

    def see(self, order: Order | None) -> Order:
        """Return the order if this one may know of it.

        Raises:
            OrderNotFoundError: It is absent, or somebody else's.
        """
        if order is None or not (self.is_operator or self.user_id == order.buyer_id or self.user_id in order.sellers):
            raise OrderNotFoundError("There is no such order.")
        return order

    def sees_all(self, order: Order) -> bool:
        """Whether nothing of the order is somebody else's business: of operators, its buyer, and an only seller."""
        return self.is_operator or self.user_id == order.buyer_id or order.sellers == {self.user_id}

    def lines_seen(self, order: Order) -> tuple[OrderLine, ...]:
        """List the lines that concern this one: sellers who aren't the buyer see their own."""
        if self.sees_all(order):
            return order.lines
        return tuple(line for line in order.lines if line.seller_id == self.user_id)

    def rejection_seen(self, refund: Refund) -> Rejection | None:
        """Tell why a refund was refused, if it was; the ledger's words have sums in them that are its seller's."""
        rejection, payers = refund.rejection, {line.seller_id for line in refund.lines}
        if rejection is None or self.is_operator or payers == {self.user_id}:
            return rejection
        return replace(rejection, message=OTHERS_REFUSALS.get(rejection.reason, "The ledger refused."))

    def check_confirms(self, order: Order) -> None:
        """Let the buyer and the sellers pass.

        Raises:
            ForbiddenError: Others who see the order.
        """
        if self.user_id != order.buyer_id and self.user_id not in order.sellers:
            raise ForbiddenError("The buyer or a seller confirms an order.")

    def check_cancels(self, order: Order) -> None:
        """Let the buyer pass.

        Raises:
            ForbiddenError: Others who see the order.
        """
        if self.user_id != order.buyer_id:
            raise ForbiddenError("Only the buyer cancels an order.")

    def check_refunds(self, order: Order) -> None:
        """Let operators and sellers pass.

        Raises:
            ForbiddenError: Others who see the order.
        """
        if not self.is_operator and self.user_id not in order.sellers:
            raise ForbiddenError("A seller of the lines, or an operator, refunds them.")

    def check_refunds_lines(self, lines: tuple[OrderLine, ...]) -> None:
        """Let operators pass, and the seller of all these lines.

        Raises:
            ForbiddenError: A line is another seller's.
        """
        if not self.is_operator and any(line.seller_id != self.user_id for line in lines):
            raise ForbiddenError("A seller refunds their own lines only.")
