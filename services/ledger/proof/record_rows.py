"""Rows of the journal, as the proof hashes them."""

from collections.abc import Sequence
from typing import Any

from services.ledger.domain.proof import details_hash

DETAILS_COLUMNS = "record_id, key_hash, fingerprint_version, fingerprint, state_after, metadata"
"""Columns that only a hash of is ever shown, in the order of `details_hash_of_row`."""


def details_hash_of_row(columns: Sequence[Any]) -> bytes:
    """Hash the values of `DETAILS_COLUMNS`."""
    record_id, key_hash, fingerprint_version, fingerprint, state_after, metadata = columns
    return details_hash(
        record_id=record_id,
        key_hash=key_hash,
        fingerprint_version=fingerprint_version,
        fingerprint=fingerprint,
        state_after=state_after,
        metadata=metadata,
    )
