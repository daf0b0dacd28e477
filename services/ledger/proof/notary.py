"""The notary: follows the journal with the tree, and signs where the book stands.

It runs behind the commits and never in their way. Two at once are safe: both compute the same nodes, and of two heads
over as many records the first stays. It reads committed records only, and a head is given out once it is committed
itself, after them in the same database's log: so no crash can take back what a head says.
"""

import asyncio
from datetime import timedelta
from pathlib import Path

import structlog

from services.ledger.proof.head_rows import newest_head, public_keys, store_head, store_key
from services.ledger.proof.heads import PublicJwk, SignedHead, endorse, public_jwk, sign_head
from services.ledger.proof.key_folder import SigningKey, SigningKeys, SigningKeysError, read_signing_keys
from services.ledger.proof.tree import Node, TreeReader, nodes_due, store_nodes
from services.ledger.queries.book import Book, book_head
from services.runtime.clock import Clock, from_micros, to_micros
from services.runtime.database.port import Connection

logger = structlog.get_logger(__name__)

SIGN_SECONDS = 5.0
"""Between two looks at the book: a signed head a look keeps a year of steady trade under 7 million rows."""

NODES_OF_STEP_MAX = 16
"""Stored nodes of one step: 4,096 hashes, some 5 ms of computing between two turns of the event loop."""

MICROSECOND = timedelta(microseconds=1)
"""The step of instants in the database."""

RECORD_HASH = "SELECT hash FROM records WHERE book_id = $1 AND sequence = $2"
"""The hash of one record, by primary key."""


class JournalChangedError(RuntimeError):
    """The journal contradicts a head that was signed: nothing more is signed."""


class Notary:
    """Keeps one book's tree and signs its heads."""

    def __init__(self, book: Book, clock: Clock, *, keys_folder: Path | None) -> None:
        """Sign with the keys of a folder; without one only the tree is kept."""
        self._book = book
        self._clock = clock
        self._keys_folder = keys_folder

    async def run(self) -> None:
        """Follow the book until cancelled."""
        if self._keys_folder is None:
            logger.warning("ledger_heads_are_not_signed", setting="TRADEFLOW_LEDGER_SIGNING_KEYS_FOLDER")
        while True:
            await self.run_once()
            await self._clock.sleep(SIGN_SECONDS)

    async def run_once(self) -> SignedHead | None:
        """Bring tree and head up to where the book stands now, and return the newest signed head.

        Raises:
            JournalChangedError: The journal isn't what was signed before.
            SigningKeysError: The folder has no usable key, or none that can vouch for the new one.
            UnavailableError: The book was not made yet (`book_missing`).
        """
        size = (await book_head(self._book)).last_sequence
        while nodes := await self._nodes_due(size):
            async with self._book.database.transaction() as connection:
                await store_nodes(connection, self._book.book_id, nodes)
            await asyncio.sleep(0)
        if self._keys_folder is None or size == 0:
            return None
        signer = await self._introduced_key(await asyncio.to_thread(read_signing_keys, self._keys_folder))
        return await self._sign(signer, size)

    async def _nodes_due(self, size: int) -> list[Node]:
        async with self._book.database.snapshot() as connection:
            return await nodes_due(connection, self._book.book_id, size, nodes_max=NODES_OF_STEP_MAX)

    async def _introduced_key(self, keys: SigningKeys) -> SigningKey:
        """Make sure that the active key is known to all who know the one before it."""
        active = keys.active
        async with self._book.database.snapshot() as connection:
            known = await public_keys(connection, self._book.book_id)
        if active.key_id in {key.kid for key in known}:
            return active
        introduced = self._introduction(active, keys, known)
        async with self._book.database.transaction() as connection:
            await store_key(connection, self._book.book_id, introduced)
        logger.info("ledger_signing_key_introduced", key_id=introduced.kid, endorsed_by=introduced.endorsed_by)
        return active

    def _introduction(self, active: SigningKey, keys: SigningKeys, known: list[PublicJwk]) -> PublicJwk:
        now = from_micros(to_micros(self._clock.now()))
        if not known:
            return public_jwk(active.public_bytes, introduced_at=now)
        endorser = next((key for jwk in reversed(known) if (key := keys.find(jwk.kid))), None)
        if endorser is None:
            raise SigningKeysError(
                f"The folder lacks the private key {known[-1].kid}, which must vouch for the new one."
            )
        # Keys are read in this order, each after the one that vouches for it, wherever a clock was set back.
        return endorse(endorser, active.public_bytes, max(now, known[-1].introduced_at + MICROSECOND))

    async def _sign(self, signer: SigningKey, size: int) -> SignedHead:
        book_id = self._book.book_id
        async with self._book.database.snapshot() as connection:
            signed = await newest_head(connection, book_id)
            tree = TreeReader(connection, book_id, max(size, signed.tree_size if signed else 0))
            if signed is not None:
                await _check_still_true(connection, tree, signed)
                if signed.tree_size >= size:
                    return signed
            ((last_hash,),) = await connection.fetch(RECORD_HASH, book_id, size)
            root = await tree.root()
        head = sign_head(
            signer,
            book_id=book_id,
            tree_size=size,
            root=root,
            last_hash=last_hash,
            signed_at=from_micros(to_micros(self._clock.now())),
        )
        async with self._book.database.transaction() as connection:
            await store_head(connection, head)
        async with self._book.database.snapshot() as connection:
            return await newest_head(connection, book_id) or head


async def _check_still_true(connection: Connection, tree: TreeReader, signed: SignedHead) -> None:
    """Refuse to sign on top of a journal that isn't the one that was signed before."""
    rows = await connection.fetch(RECORD_HASH, signed.book_id, signed.tree_size)
    if not rows or rows[0][0] != signed.last_hash or await tree.root_of_first(signed.tree_size) != signed.root:
        raise JournalChangedError(f"the journal contradicts the signed head over {signed.tree_size} records")
