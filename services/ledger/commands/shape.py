"""What all commands of callers have in common, and the checks that need no state.

A command checks its shape when it is made, before it queues for the book, and takes its fingerprint then too.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from services.ledger.domain.canonical import Field
from services.ledger.domain.keys import KEY_BYTES_MAX, SERVICE_BYTES_MAX, fingerprint_of, key_hash_of
from services.ledger.domain.refusals import InvalidAmountError
from services.money import AMOUNT_MINOR_MAX
from services.runtime.errors import InvalidArgumentError

SELLERS_MAX = 100
"""The most sellers of one capture or refund: bounds a record's size and its number of postings."""

CAPTURE_NUMBER_MAX = 2**31 - 1
"""The largest capture number: the contract's int32."""

TRACEPARENT_CHARACTERS_MAX = 55
"""The length of a W3C trace context's `traceparent`; longer ones are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedCommand(ABC):
    """A command that takes effect once under its key.

    `service` is the key's scope: the calling service's subject, or `user:{id}` for a user's own call. `traceparent` is
    carried to the events and is no part of the fingerprint.

    Raises:
        InvalidArgumentError: The shape is wrong; the reason says how.
    """

    kind: ClassVar[str]

    service: str
    idempotency_key: str
    traceparent: str = ""
    fingerprint: bytes = field(init=False, repr=False, compare=False)
    key_hash: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.idempotency_key.encode()) <= KEY_BYTES_MAX:
            raise InvalidArgumentError(
                f"A key has 1 to {KEY_BYTES_MAX} bytes of UTF-8.", reason="idempotency_key_malformed"
            )
        if not 1 <= len(self.service.encode()) <= SERVICE_BYTES_MAX:
            raise InvalidArgumentError(f"A service's name has 1 to {SERVICE_BYTES_MAX} bytes.")
        self.check_shape()
        # The fields are computed once; a frozen dataclass sets its own fields this way.
        object.__setattr__(self, "fingerprint", fingerprint_of(self.kind, *self.content()))
        object.__setattr__(self, "key_hash", key_hash_of(self.service, self.idempotency_key))
        if len(self.traceparent) > TRACEPARENT_CHARACTERS_MAX:
            object.__setattr__(self, "traceparent", "")

    @abstractmethod
    def content(self) -> tuple[Field, ...]:
        """List what the command asks, in an order that never changes."""

    def check_shape(self) -> None:  # noqa: B027 - most commands have nothing more to check
        """Refuse what can never be right."""


def require_aware(instant: datetime, name: str) -> None:
    """Refuse an instant that doesn't say its offset.

    Raises:
        InvalidArgumentError: `instant_malformed`.
    """
    if instant.utcoffset() is None:
        raise InvalidArgumentError(f"{name} needs its offset from UTC.", reason="instant_malformed")


def require_sellers(seller_ids: Sequence[UUID]) -> None:
    """Refuse no sellers, too many, or one twice.

    Raises:
        InvalidArgumentError: `sellers_malformed`.
    """
    if not 1 <= len(seller_ids) <= SELLERS_MAX or len(set(seller_ids)) != len(seller_ids):
        raise InvalidArgumentError(f"1 to {SELLERS_MAX} sellers, each once.", reason="sellers_malformed")


def require_positive(amount_minor: int) -> None:
    """Refuse zero, negative amounts and those past 2^53 - 1.

    Raises:
        InvalidAmountError: Always then.
    """
    if not 0 < amount_minor <= AMOUNT_MINOR_MAX:
        raise InvalidAmountError(f"An amount is positive and at most {AMOUNT_MINOR_MAX}.")


def require_capture_number(capture_number: int) -> None:
    """Refuse what is no number of a capture.

    Raises:
        InvalidArgumentError: `capture_number_malformed`.
    """
    if not 1 <= capture_number <= CAPTURE_NUMBER_MAX:
        raise InvalidArgumentError("Captures are numbered from 1.", reason="capture_number_malformed")
