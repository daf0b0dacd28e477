"""What all commands of callers have in common, and the checks that need no state.

A command checks its shape when it is made, before it queues for the book, and takes its fingerprint then too.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import force_setattr

from services.ledger.domain.canonical import Field
from services.ledger.domain.keys import KEY_BYTES_MAX, SERVICE_BYTES_MAX, fingerprint_of, key_hash_of
from services.ledger.domain.metadata import NOTE_BYTES_MAX, encode_metadata
from services.ledger.domain.refusals import InvalidAmountError
from services.money import AMOUNT_MINOR_MAX
from services.runtime.clock import EPOCH
from services.runtime.errors import InvalidArgumentError

SELLERS_MAX = 100
"""The most sellers of one capture or refund: bounds a record's size and its number of postings."""

CAPTURE_NUMBER_MAX = 2**31 - 1
"""The largest capture number: the contract's int32."""

TRACEPARENT_CHARACTERS_MAX = 55
"""The length of a W3C trace context's `traceparent`; longer ones are dropped."""


class KeyedCommand(Struct, frozen=True, kw_only=True, gc=False):
    """A command that takes effect once under its key.

    `service` is the key's scope: the calling service's subject, or `user:{id}` for a user's own call. `metadata` is
    kept with the command's record and is a part of what it asks. With `dry_run` the command is decided and nothing
    happens: neither is anything remembered under its key. `traceparent` is carried to the events; it and `dry_run` are
    no part of the fingerprint. `fingerprint`, `key_hash` and `record_metadata` are computed, never given.

    Raises:
        InvalidArgumentError: The shape is wrong; the reason says how.
    """

    kind: ClassVar[str]

    service: str
    idempotency_key: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    dry_run: bool = False
    traceparent: str = ""
    fingerprint: bytes = b""
    key_hash: bytes = b""
    record_metadata: bytes = b""

    def __post_init__(self) -> None:
        if not 1 <= len(self.idempotency_key.encode()) <= KEY_BYTES_MAX:
            raise InvalidArgumentError(
                f"A key has 1 to {KEY_BYTES_MAX} bytes of UTF-8.", reason="idempotency_key_malformed"
            )
        if not 1 <= len(self.service.encode()) <= SERVICE_BYTES_MAX:
            raise InvalidArgumentError(f"A service's name has 1 to {SERVICE_BYTES_MAX} bytes.")
        self.check_shape()
        content = self.content()
        if self.metadata:
            content = (*content, encode_metadata(self.metadata))
        # Once, whatever was given: they are asked for several times.
        force_setattr(self, "fingerprint", fingerprint_of(self.kind, *content))
        force_setattr(self, "key_hash", key_hash_of(self.service, self.idempotency_key))
        note = self.noted()
        if note or self.metadata:
            force_setattr(self, "record_metadata", encode_metadata(self.metadata, note))
        if len(self.traceparent) > TRACEPARENT_CHARACTERS_MAX:
            force_setattr(self, "traceparent", "")

    def content(self) -> tuple[Field, ...]:
        """List what the command asks, in an order that never changes."""
        raise NotImplementedError

    def noted(self) -> str:
        """Tell the note that the record keeps beside the metadata."""
        return ""

    def check_shape(self) -> None:
        """Refuse what can never be right."""


def require_aware(instant: datetime, name: str) -> None:
    """Refuse an instant that doesn't say its offset.

    Raises:
        InvalidArgumentError: `instant_malformed`.
    """
    if instant.utcoffset() is None:
        raise InvalidArgumentError(f"{name} needs its offset from UTC.", reason="instant_malformed")


def require_note(note: str) -> None:
    """Refuse a note that is too long.

    Raises:
        InvalidArgumentError: `note_too_long`.
    """
    if len(note.encode(errors="replace")) > NOTE_BYTES_MAX:
        raise InvalidArgumentError(f"A note has at most {NOTE_BYTES_MAX} bytes.", reason="note_too_long")


def require_effective_date(effective_at: datetime | None) -> None:
    """Refuse an effective date without an offset or before 1970; whether it lies ahead is asked under the lock.

    Raises:
        InvalidArgumentError: `instant_malformed`.
    """
    if effective_at is None:
        return
    require_aware(effective_at, "effective_at")
    if effective_at < EPOCH:
        raise InvalidArgumentError("effective_at is in 1970 or later.", reason="instant_malformed")


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
