"""What the doors check of a field before a command is made of it.

Commands check their own shape when they are made (keys, sellers, rates, notes); here is what must be right before there
are values to make one of. What depends on state or on the ledger's clock is for the commands' guards alone, so that a
repeated command gets its first answer.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from services.ledger.commands.shape import require_positive
from services.ledger.domain.journal import RecordKind
from services.money import Money, exponent_of
from services.runtime.errors import InvalidArgumentError

IDS_REMEMBERED = 65_536
"""Ids that were read: wallets and holds come again and again, and reading one costs more than to look it up."""


KINDS = frozenset(kind.value for kind in RecordKind)
"""What records are called."""


def id_of(text: str, field: str) -> UUID:
    """Read a UUID in its canonical form: 36 characters with hyphens.

    Raises:
        InvalidArgumentError: `id_malformed`.
    """
    try:
        return _canonical_id(text)
    except ValueError:
        raise InvalidArgumentError(
            f"{field} must be a UUID such as 018f4e6e-7f3a-7c3a-8f7e-0123456789ab.",
            reason="id_malformed",
            details={"field": field},
        ) from None


@lru_cache(maxsize=IDS_REMEMBERED)
def _canonical_id(text: str) -> UUID:
    value = UUID(text)
    if str(value) != text.lower():
        raise ValueError(text)
    return value


def positive_money(amount_minor: int, currency: str) -> Money:
    """Check an amount of a known asset.

    Raises:
        InvalidArgumentError: `invalid_amount` or `unknown_asset`.
    """
    require_positive(amount_minor)
    return Money(amount_minor, currency)


def currency_of(text: str) -> str:
    """Check an asset code.

    Raises:
        InvalidArgumentError: `unknown_asset`.
    """
    exponent_of(text)
    return text


def instant_of(timestamp: Timestamp, field: str) -> datetime:
    """Read an instant of the years 1 to 9999.

    Raises:
        InvalidArgumentError: `instant_malformed`.
    """
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except ValueError as error:
        raise InvalidArgumentError(
            f"{field} is not a valid instant.", reason="instant_malformed", details={"field": field}
        ) from error


def page_size_of(size: int, *, default: int, most: int) -> int:
    """Check how many lines a page may have; 0 takes the default.

    Raises:
        InvalidArgumentError: `page_size_malformed`.
    """
    if not 0 <= size <= most:
        raise InvalidArgumentError(
            f"page_size must be from 1 to {most}.", reason="page_size_malformed", details={"field": "page_size"}
        )
    return size or default


def sequence_of(sequence: int, field: str) -> int:
    """Check a sequence that a page goes on after; 0 is the beginning.

    Raises:
        InvalidArgumentError: `sequence_malformed`.
    """
    if sequence < 0:
        raise InvalidArgumentError(f"{field} must be 0 or more.", reason="sequence_malformed", details={"field": field})
    return sequence


def kinds_of(words: Iterable[str], field: str) -> frozenset[str]:
    """Read which kinds of records are wanted: a misspelled one would look as if there were none.

    Raises:
        InvalidArgumentError: `filter_malformed`.
    """
    kinds = frozenset(words)
    if not kinds <= KINDS:
        raise InvalidArgumentError(
            f"A kind is one of {', '.join(sorted(KINDS))}.", reason="filter_malformed", details={"field": field}
        )
    return kinds
