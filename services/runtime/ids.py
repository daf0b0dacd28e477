"""New identifiers: UUIDv7 (RFC 9562), so that ids made later sort later and land together in an index."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Make a new UUIDv7."""
    return uuid7()
