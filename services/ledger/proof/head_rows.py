"""Signed heads and public keys in the database."""

from contextlib import suppress

from msgspec.structs import replace

from services.ledger.proof.heads import PublicJwk, SignedHead, public_jwk
from services.runtime.clock import from_micros, to_micros
from services.runtime.database.port import Connection, DuplicateKeyError, Row

_HEAD_COLUMNS = "book_id, tree_size, root, last_hash, signed_at, key_id, signature"

# The newest head.
_NEWEST_HEAD = f"""
    SELECT {_HEAD_COLUMNS} FROM signed_heads WHERE book_id = $1 ORDER BY tree_size DESC LIMIT 1
"""  # noqa: S608 - a constant

# Heads from a size on, in order.
_HEADS_FROM = f"""
    SELECT {_HEAD_COLUMNS} FROM signed_heads WHERE book_id = $1 AND tree_size >= $2 ORDER BY tree_size LIMIT $3
"""  # noqa: S608 - a constant

# Two notaries may sign one size: the first signature stays. No upsert: its user may change none.
_INSERT_HEAD = f"""
    INSERT INTO signed_heads ({_HEAD_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)
"""  # noqa: S608 - a constant

# All keys: there are few.
_KEYS = """
    SELECT key_id, public_key, introduced_at, endorsed_by, endorsement FROM signing_keys
    WHERE book_id = $1 ORDER BY introduced_at, key_id
"""

# Two notaries may introduce one key: the first introduction stays.
_INSERT_KEY = """
    INSERT INTO signing_keys (book_id, key_id, public_key, introduced_at, endorsed_by, endorsement)
    VALUES ($1, $2, $3, $4, $5, $6)
"""


async def newest_head(connection: Connection, book_id: int) -> SignedHead | None:
    """Read the newest signed head, if there is one."""
    rows = await connection.fetch(_NEWEST_HEAD, book_id)
    return _head_of_row(rows[0]) if rows else None


async def heads_from(connection: Connection, book_id: int, tree_size: int, *, heads_max: int) -> list[SignedHead]:
    """Read the signed heads over at least `tree_size` records, smallest first."""
    return [_head_of_row(row) for row in await connection.fetch(_HEADS_FROM, book_id, tree_size, heads_max)]


async def store_head(connection: Connection, head: SignedHead) -> None:
    """Keep a head, unless there is one over as many records."""
    with suppress(DuplicateKeyError):
        await connection.execute(
            _INSERT_HEAD,
            head.book_id,
            head.tree_size,
            head.root,
            head.last_hash,
            to_micros(head.signed_at),
            head.key_id.encode(),
            head.signature,
        )


async def public_keys(connection: Connection, book_id: int) -> list[PublicJwk]:
    """Read all keys of a book, in the order in which they came into use."""
    return [_key_of_row(row) for row in await connection.fetch(_KEYS, book_id)]


async def store_key(connection: Connection, book_id: int, key: PublicJwk) -> None:
    """Keep a key, unless it is there."""
    with suppress(DuplicateKeyError):
        await connection.execute(
            _INSERT_KEY,
            book_id,
            key.kid.encode(),
            key.public_bytes,
            to_micros(key.introduced_at),
            key.endorsed_by.encode() if key.endorsed_by is not None else None,
            key.endorsement,
        )


def _head_of_row(row: Row) -> SignedHead:
    book_id, tree_size, root, last_hash, signed_at, key_id, signature = row
    return SignedHead(
        book_id=book_id,
        tree_size=tree_size,
        root=root,
        last_hash=last_hash,
        signed_at=from_micros(signed_at),
        key_id=key_id.decode(),
        signature=signature,
    )


def _key_of_row(row: Row) -> PublicJwk:
    """Make a key, under the name that the row gives it: whether that is its own is for `TrustedKeys` to say."""
    key_id, public_key, introduced_at, endorsed_by, endorsement = row
    key = public_jwk(
        public_key,
        introduced_at=from_micros(introduced_at),
        endorsed_by=endorsed_by.decode() if endorsed_by is not None else None,
        endorsement=endorsement,
    )
    return replace(key, kid=key_id.decode())
