"""Idempotency keys: one key, one effect, one answer.

A key is scoped to the calling service, compared byte by byte, and remembered with the command's fingerprint. An
accepted key lives as long as its effect.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache, lru_cache
from hashlib import sha256
from uuid import UUID

from msgspec import Struct, field

from services.ledger.domain.canonical import Field, encode_field, encode_fields

FINGERPRINT_VERSION = 1
"""How fingerprints are taken now. Remembered keys carry the version they were taken by."""

KEY_BYTES_MAX = 128
"""The longest key, in bytes of UTF-8: the width of the database's column."""

SERVICE_BYTES_MAX = 64
"""The longest scope, in bytes of UTF-8: the width of the database's column."""

SERVICES_REMEMBERED = 256
"""How many scopes' encodings are remembered: all services there are, and some users."""

NO_KEY_HASH = bytes(32)
"""The key hash of records that no key asked for: the ledger's own expiries."""


class RecordedKey(Struct, frozen=True, kw_only=True, gc=False):
    """A key and the answer that it got. `reason` is empty when the command was accepted."""

    service: str
    idempotency_key: str
    fingerprint: bytes
    sequence: int
    recorded_at: datetime
    hold_id: UUID | None = None
    reason: str = ""
    message: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


def fingerprint_of(kind: str, *content: Field) -> bytes:
    """Hash what a command asks, by version 1: two commands of one fingerprint ask the same."""
    return sha256(_prefix_of(kind) + encode_fields(*content)).digest()


@cache
def _prefix_of(kind: str) -> bytes:
    return encode_fields(FINGERPRINT_VERSION, kind)


def key_hash_of(service: str, idempotency_key: str) -> bytes:
    """Hash a scoped key for the journal, which shall prove the key without showing it."""
    return sha256(_scope_of(service) + encode_field(idempotency_key)).digest()


@lru_cache(SERVICES_REMEMBERED)
def _scope_of(service: str) -> bytes:
    return encode_field(service)
