"""Verify the proof itself: the tree over the journal computed anew, against stored nodes, signed heads and a kept head.

The journal's own walk (queries/verify.py) tells whether records fit each other. It can't see a journal whose end was
cut or rewritten with everything adjusted: only what was signed before, and kept elsewhere, contradicts that. Reads one
snapshot in pages; memory doesn't grow with the book.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from services.ledger.domain.journal import GENESIS_HASH
from services.ledger.domain.merkle import leaf_hash, merkle_root
from services.ledger.proof.head_file import HeadFile
from services.ledger.proof.head_rows import heads_from, public_keys
from services.ledger.proof.heads import PublicJwk, SignatureError, SignedHead, TrustedKeys
from services.ledger.proof.merkle_proofs import GrowingTree
from services.ledger.proof.tree import LEVELS_OF_TILE, TILE_HASHES
from services.ledger.queries.book import Book
from services.ledger.queries.verification.findings import Findings, Problem
from services.ledger.queries.verification.journal import Progress
from services.runtime.database.port import Connection

PAGE_ROWS = 2_000
"""Rows read at once: some 200 KiB."""

HASHES_PAGE = "SELECT sequence, hash FROM records WHERE book_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3"
"""The journal's hashes in order, by primary key."""

NODES_PAGE = """
SELECT node_index, hash FROM tree_nodes WHERE book_id = $1 AND level = $2 AND node_index > $3
ORDER BY node_index LIMIT $4
"""
"""Stored nodes of one level in order, by primary key."""

SIZE_MIN = -(2**63)
"""No head's size is less, also where somebody wrote one that no journal has."""

STRAY_NODES = """
SELECT level, node_index FROM tree_nodes
WHERE book_id = $1 AND (level < $2 OR level > $3 OR level % $2 <> 0 OR node_index < 0)
ORDER BY level, node_index LIMIT 100
"""
"""Nodes where the tree has no place for any; one row is stored for 255 records."""

LAST_SEQUENCE = "SELECT last_sequence FROM books WHERE book_id = $1"
"""For the progress bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofReport:
    """What was looked at, and what is wrong with it."""

    records: int
    root: bytes
    heads: int
    signed_size: int
    """The largest tree that a head was signed over."""
    keys: int
    nodes: int
    problems: tuple[Problem, ...]
    problems_found: int


@dataclass(slots=True, kw_only=True)
class _Level:
    """One stored level, as it is computed anew and read along."""

    level: int
    stored: AsyncIterator[tuple[int, bytes]]
    following: tuple[int, bytes] | None
    below: list[bytes] = field(default_factory=list)
    size: int = 0


async def verify_proof(book: Book, progress: Progress, *, kept: HeadFile | None = None) -> ProofReport:
    """Compute the tree anew and compare it with all that was stored and signed, and with a head that was kept.

    Args:
        book: Which.
        progress: Is told the sequence that was reached and the last one, page by page.
        kept: A head from elsewhere.
    """
    findings = Findings()
    async with book.database.snapshot() as connection:
        keys = await public_keys(connection, book.book_id)
        walk = _ProofWalk(connection, book.book_id, findings, _trusted(findings, keys))
        kept_head = _believed(findings, keys, kept)
        await walk.run(progress, kept_head)
    return ProofReport(
        records=walk.tree.size,
        root=walk.tree.root,
        heads=walk.heads,
        signed_size=walk.signed_size,
        keys=len(keys),
        nodes=walk.nodes,
        problems=findings.problems,
        problems_found=findings.count,
    )


def _trusted(findings: Findings, keys: list[PublicJwk]) -> TrustedKeys:
    try:
        return TrustedKeys.of(keys)
    except SignatureError as error:
        findings.add("signing_keys", "all rows", "endorsement", f"can't be trusted: {error}.")
        return TrustedKeys({})


def _believed(findings: Findings, keys: list[PublicJwk], kept: HeadFile | None) -> SignedHead | None:
    """Check the kept head's own signature, by the keys that were kept with it and those of the book."""
    if kept is None:
        return None
    try:
        TrustedKeys.of(kept.keys or keys).check_head(kept.head)
        TrustedKeys.of(keys, anchors=kept.keys or None)
    except SignatureError as error:
        findings.add("signed_heads", f"kept head {kept.head.tree_size}", "signature", f"can't be trusted: {error}.")
    return kept.head


class _ProofWalk:
    """Goes along the journal's hashes, the stored nodes and the signed heads at once."""

    def __init__(self, connection: Connection, book_id: int, findings: Findings, trusted: TrustedKeys) -> None:
        self._connection = connection
        self._book_id = book_id
        self._findings = findings
        self._trusted = trusted
        self._levels: list[_Level] = []
        self._last_hash = GENESIS_HASH
        self.tree = GrowingTree()
        self.heads = 0
        self.signed_size = 0
        self.nodes = 0

    async def run(self, progress: Progress, kept: SignedHead | None) -> None:
        """Walk to the end of the journal."""
        last = await self._connection.fetch(LAST_SEQUENCE, self._book_id)
        total = last[0][0] if last else 0
        heads = self._heads()
        head = await anext(heads, None)
        while rows := await self._connection.fetch(HASHES_PAGE, self._book_id, self.tree.size, PAGE_ROWS):
            for sequence, digest in rows:
                if sequence != self.tree.size + 1:
                    self._findings.add("records", f"sequence {self.tree.size + 1}", "sequence", "is missing.")
                    return
                self._last_hash = digest
                await self._append(leaf_hash(digest))
                while head is not None and head.tree_size <= self.tree.size:
                    self._check_head(head)
                    head = await anext(heads, None)
                if kept is not None and kept.tree_size == self.tree.size:
                    self._compare(kept, "kept head")
            progress(self.tree.size, max(total, self.tree.size))
        await self._check_ends(head, kept)

    async def _append(self, leaf: bytes) -> None:
        """Grow the tree, and compare each stored node that this completes."""
        self.tree.append(leaf)
        digest, number = leaf, 0
        while True:
            if number == len(self._levels):
                self._levels.append(await self._open_level(LEVELS_OF_TILE * (number + 1)))
            level = self._levels[number]
            level.below.append(digest)
            if len(level.below) < TILE_HASHES:
                return
            digest = merkle_root(level.below)
            level.below.clear()
            await self._compare_node(level, digest)
            number += 1

    async def _open_level(self, level: int) -> _Level:
        stored = self._nodes(level)
        return _Level(level=level, stored=stored, following=await anext(stored, None))

    async def _compare_node(self, level: _Level, digest: bytes) -> None:
        index, level.size = level.size, level.size + 1
        row = f"level {level.level} node {index}"
        if level.following is None:
            return  # the notary isn't there yet
        if level.following[0] != index:
            self._findings.add("tree_nodes", row, "node_index", "is missing.")
            return
        if level.following[1] != digest:
            self._findings.add("tree_nodes", row, "hash", "is not the root of the records below it.")
        self.nodes += 1
        level.following = await anext(level.stored, None)

    def _check_head(self, head: SignedHead) -> None:
        self.heads += 1
        self.signed_size = head.tree_size
        try:
            self._trusted.check_head(head)
        except SignatureError as error:
            self._findings.add("signed_heads", f"head {head.tree_size}", "signature", f"is not good: {error}.")
        self._compare(head, "head")

    def _compare(self, head: SignedHead, name: str) -> None:
        row = f"{name} {head.tree_size}"
        if (head.book_id, head.root, head.last_hash) != (self._book_id, self.tree.root, self._last_hash):
            self._findings.add(
                "signed_heads", row, "root", "is not that of the journal: something up to there was changed."
            )

    async def _check_ends(self, head: SignedHead | None, kept: SignedHead | None) -> None:
        """Find what was signed, or stored, beyond the end of the journal."""
        for name, beyond in (("head", head), ("kept head", kept)):
            if beyond is not None and beyond.tree_size > self.tree.size:
                self._findings.add(
                    "records",
                    f"sequence {self.tree.size + 1}",
                    "sequence",
                    f"is missing: the journal ends at {self.tree.size}, and the {name} was signed over"
                    f" {beyond.tree_size} records.",
                )
        for level in self._levels or [await self._open_level(LEVELS_OF_TILE)]:
            if level.following is not None:
                row = f"level {level.level} node {level.following[0]}"
                self._findings.add("tree_nodes", row, "node_index", "is beyond the end of the journal.")
        level_max = LEVELS_OF_TILE * max(len(self._levels), 1)
        for level, index in await self._connection.fetch(STRAY_NODES, self._book_id, LEVELS_OF_TILE, level_max):
            self._findings.add("tree_nodes", f"level {level} node {index}", "level", "is no place of the tree.")

    async def _heads(self) -> AsyncIterator[SignedHead]:
        size = SIZE_MIN
        while heads := await heads_from(self._connection, self._book_id, size, heads_max=PAGE_ROWS):
            for head in heads:
                yield head
            size = heads[-1].tree_size + 1

    async def _nodes(self, level: int) -> AsyncIterator[tuple[int, bytes]]:
        after = -1
        while rows := await self._connection.fetch(NODES_PAGE, self._book_id, level, after, PAGE_ROWS):
            for index, digest in rows:
                yield index, digest
            after = rows[-1][0]
