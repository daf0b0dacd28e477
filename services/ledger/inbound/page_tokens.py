"""Opaque cursors: where a page ended, bound to what was asked.

A token says where to go on and carries a short hash of the request's filters, so that a token which is sent with other
filters is refused instead of skipping or repeating something. It is no secret and gives no right.
"""

import base64
import binascii
from hashlib import sha256
from typing import Annotated, TypeVar

import msgspec

from services.runtime.errors import InvalidArgumentError

FILTERS_HASH_BYTES = 8
"""Enough against mistakes; nobody gains by forging one."""

SEQUENCE_MAX = 2**63 - 1
"""The largest position that is a number: the databases' columns hold no more."""

Position = TypeVar("Position", int, str)


class _Token(msgspec.Struct, array_like=True, frozen=True):
    filters_hash: bytes
    position: Annotated[int, msgspec.Meta(ge=1, le=SEQUENCE_MAX)] | str


def page_token(position: int | str, *filters: object) -> str:
    """Write a cursor; a position that is 0 or empty is the end and has none."""
    if not position:
        return ""
    token = msgspec.msgpack.encode(_Token(_hash_of(filters), position))
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def position_of(token: str, beginning: Position, *filters: object, field: str = "page_token") -> Position:
    """Read where to go on; no token is the beginning.

    Raises:
        InvalidArgumentError: `{field}_malformed`: no page gave it, or one of other filters did.
    """
    if not token:
        return beginning
    try:
        read = msgspec.msgpack.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)), type=_Token)
    except (binascii.Error, ValueError) as error:
        raise _malformed(field) from error
    if read.filters_hash != _hash_of(filters) or type(read.position) is not type(beginning):
        raise _malformed(field)
    return read.position


def _hash_of(filters: tuple[object, ...]) -> bytes:
    return sha256(msgspec.json.encode([_stable(value) for value in filters])).digest()[:FILTERS_HASH_BYTES]


def _stable(value: object) -> object:
    """Write a filter so that equal ones are equal in every process: sets have no order of their own."""
    if isinstance(value, msgspec.Struct):
        return [_stable(getattr(value, name)) for name in value.__struct_fields__]
    return sorted(map(str, value)) if isinstance(value, frozenset) else str(value)


def _malformed(field: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        "It isn't one that this request's pages gave.", reason=f"{field}_malformed", details={"field": field}
    )
