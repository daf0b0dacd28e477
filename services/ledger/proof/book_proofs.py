"""What the doors give out of a book's proof: heads, keys, statements, and that one head grew from another."""

from pathlib import Path

from msgspec import Struct

from services.ledger.proof.head_rows import newest_head, public_keys
from services.ledger.proof.heads import PublicJwk, SignedHead
from services.ledger.proof.statement import StatementMaker
from services.ledger.proof.tree import TreeReader
from services.ledger.queries.book import Book
from services.runtime.clock import Clock
from services.runtime.errors import InvalidArgumentError, UnavailableError


class ConsistencyProof(Struct, frozen=True, kw_only=True):
    """That the first `old_tree_size` records of a tree are what they were."""

    old_tree_size: int
    tree_size: int
    root: bytes
    path: list[bytes]


class BookProofs:
    """Answers for one book; statements are signed with the keys of a folder."""

    def __init__(self, book: Book, clock: Clock, *, keys_folder: Path | None) -> None:
        """Read the book."""
        self._book = book
        self.statements = StatementMaker(book, clock, keys_folder=keys_folder)

    async def head(self) -> SignedHead:
        """Read the newest signed head.

        Raises:
            UnavailableError: There is none (`head_not_signed`).
        """
        async with self._book.database.snapshot() as connection:
            head = await newest_head(connection, self._book.book_id)
        if head is None:
            raise UnavailableError("No head of the book is signed yet.", reason="head_not_signed")
        return head

    async def keys(self) -> list[PublicJwk]:
        """Read all public keys, in the order in which they came into use."""
        async with self._book.database.snapshot() as connection:
            return await public_keys(connection, self._book.book_id)

    async def consistency(self, old_tree_size: int, tree_size: int = 0) -> ConsistencyProof:
        """Prove that one tree is the beginning of another; a `tree_size` of 0 is that of the newest signed head.

        Raises:
            InvalidArgumentError: A size is beyond the newest signed head, or not the smaller one
                (`tree_size_malformed`).
            UnavailableError: No head is signed yet (`head_not_signed`).
        """
        newest = await self.head()
        size = tree_size or newest.tree_size
        if not 0 < old_tree_size <= size <= newest.tree_size:
            raise InvalidArgumentError(
                f"Trees have 1 to {newest.tree_size} records, and the old one not more than the other.",
                reason="tree_size_malformed",
            )
        async with self._book.database.snapshot() as connection:
            tree = TreeReader(connection, self._book.book_id, size)
            return ConsistencyProof(
                old_tree_size=old_tree_size,
                tree_size=size,
                root=await tree.root(),
                path=await tree.consistency_path(old_tree_size),
            )
