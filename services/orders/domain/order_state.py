"""The life of an order: its states, and the one table of moves between them.

PENDING → RESERVED → CONFIRMED → SETTLED → PARTIALLY_REFUNDED → REFUNDED is the way of an order that goes well. The
intents (CANCELLING, EXPIRING, REFUNDING) are written before the ledger is asked, so that a crash never forgets what was
begun; the ledger's answer decides where they lead.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final, Self

from services.runtime.errors import RefusedError


class OrderState(Enum):
    """Where an order stands; `sentence` says it to people."""

    sentence: str

    def __new__(cls, word: str, sentence: str = "") -> Self:
        """Take the word as the value and keep the sentence beside it."""
        member = object.__new__(cls)
        member._value_ = word
        member.sentence = sentence
        return member

    PENDING = ("PENDING", "The order is durable and its stock is set aside; the ledger has not answered yet.")
    RESERVED = ("RESERVED", "The buyer's money is held; the order waits for its confirmation.")
    CONFIRMED = ("CONFIRMED", "The hold is permanent and the ledger was told to pay the sellers.")
    SETTLED = ("SETTLED", "The sellers are paid.")
    PARTIALLY_REFUNDED = ("PARTIALLY_REFUNDED", "A part of the money went back to the buyer.")
    REFUNDED = ("REFUNDED", "All of the money went back to the buyer.")
    CANCELLING = ("CANCELLING", "Somebody wants out; the ledger is being asked to let the money go.")
    EXPIRING = ("EXPIRING", "Nobody confirmed in time; the ledger is being asked to let the money go.")
    REFUNDING = ("REFUNDING", "A refund is durable; the ledger is being asked to give the money back.")
    REJECTED = ("REJECTED", "The ledger refused to hold the money; the stock is back.")
    CANCELLED = ("CANCELLED", "The order was called off; money and stock are free again.")
    EXPIRED = ("EXPIRED", "Nobody confirmed in time; money and stock are free again.")
    SETTLEMENT_FAILED = ("SETTLEMENT_FAILED", "The ledger refused to pay the sellers; money and stock are free again.")

    @property
    def is_intent(self) -> bool:
        """Whether work is under way that ends by itself."""
        return self in INTENTS


INTENTS: Final = frozenset({OrderState.CANCELLING, OrderState.EXPIRING, OrderState.REFUNDING})
"""The states in which the ledger's answer is awaited after a decision to undo something."""

REFUNDABLE: Final = frozenset({OrderState.SETTLED, OrderState.PARTIALLY_REFUNDED})
"""The states in which the sellers have money that can go back: a refund begins here, a cancellation becomes one."""

TRANSITIONS: Final[Mapping[OrderState, frozenset[OrderState]]] = MappingProxyType(
    {
        OrderState.PENDING: frozenset(
            {OrderState.RESERVED, OrderState.REJECTED, OrderState.CANCELLING, OrderState.EXPIRING}
        ),
        OrderState.RESERVED: frozenset({OrderState.CONFIRMED, OrderState.CANCELLING, OrderState.EXPIRING}),
        OrderState.CONFIRMED: frozenset({OrderState.SETTLED, OrderState.CANCELLING, OrderState.SETTLEMENT_FAILED}),
        OrderState.SETTLED: frozenset({OrderState.REFUNDING}),
        OrderState.PARTIALLY_REFUNDED: frozenset({OrderState.REFUNDING}),
        OrderState.REFUNDED: frozenset(),
        OrderState.CANCELLING: frozenset({OrderState.CANCELLED, OrderState.REFUNDING}),
        OrderState.EXPIRING: frozenset({OrderState.EXPIRED, OrderState.SETTLED}),
        OrderState.REFUNDING: frozenset({OrderState.PARTIALLY_REFUNDED, OrderState.REFUNDED, OrderState.SETTLED}),
        OrderState.REJECTED: frozenset(),
        OrderState.CANCELLED: frozenset(),
        OrderState.EXPIRED: frozenset(),
        OrderState.SETTLEMENT_FAILED: frozenset(),
    }
)
"""Every allowed move. REFUNDING leads back to SETTLED or PARTIALLY_REFUNDED when the ledger refuses the refund, and
EXPIRING to SETTLED when the sellers are paid already, by a confirmation that a restored database doesn't know."""


class IllegalTransitionError(RefusedError):
    """The order's state doesn't allow this move."""

    default_reason = "illegal_transition"


def check_move(before: OrderState, after: OrderState) -> None:
    """Let a move of the table pass.

    Raises:
        IllegalTransitionError: The table doesn't have it.
    """
    if after not in TRANSITIONS[before]:
        raise IllegalTransitionError(
            f"An order that is {before.value} can't become {after.value}. {before.sentence}",
            details={"state": before.value},
        )
