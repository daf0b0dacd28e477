"""The Merkle tree over the journal, as it is stored: RFC 9162 with a leaf for each record's hash.

Only the levels 8, 16, 24, … have rows: one for 256 records, one for 65,536, and so on. What lies between is computed
from the 256 hashes below it. So a record costs 1/255 of a row more, and a proof in a tree of n records reads at most
two tiles of 256 hashes a stored level: 4 statements to 65,536 records, 6 to 16 million.
"""

from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress

from services.ledger.domain.merkle import leaf_hash, merkle_root
from services.ledger.proof.merkle_proofs import (
    Part,
    consistency_parts,
    full_trees,
    inclusion_parts,
    node_hash,
    root_over,
)
from services.runtime.database.port import Connection, DuplicateKeyError
from services.runtime.errors import UnavailableError

LEVELS_OF_TILE = 8
"""Levels between two stored ones."""

TILE_HASHES = 1 << LEVELS_OF_TILE
"""Hashes under a stored node."""

TILES_KEPT_MAX = 128
"""Tiles that a reader keeps: about 5 MiB, and the way to the root is among them."""

_RECORD_HASHES = """
    SELECT hash FROM records WHERE book_id = $1 AND sequence > $2 AND sequence <= $3 ORDER BY sequence
"""

_NODES = """
    SELECT hash FROM tree_nodes
    WHERE book_id = $1 AND level = $2 AND node_index >= $3 AND node_index < $4
    ORDER BY node_index
"""

# Where a level ends.
_LAST_NODE = """
    SELECT node_index FROM tree_nodes WHERE book_id = $1 AND level = $2 ORDER BY node_index DESC LIMIT 1
"""

_INSERT_NODE = "INSERT INTO tree_nodes (book_id, level, node_index, hash) VALUES ($1, $2, $3, $4)"

Tile = list[list[bytes]]
"""The hashes under a stored node, and above them each level of full pairs, up to the one below the node."""

Node = tuple[int, int, bytes]
"""A node to be stored: its level, its number there, its hash."""


class TreeReader:
    """Finds hashes of the tree in one snapshot, and keeps the tiles that it read.

    Asked only for parts within `size`, the number of records whose stored nodes are all there.

    Raises:
        UnavailableError: A record or a node is missing: the notary is behind (`tree_behind`).
    """

    def __init__(self, connection: Connection, book_id: int, size: int) -> None:
        """Read the tree over the first `size` records."""
        self._connection = connection
        self._book_id = book_id
        self.size = size
        self._tiles: OrderedDict[tuple[int, int], Tile] = OrderedDict()

    async def root(self) -> bytes:
        """Compute the root over all `size` records."""
        return await self._hash_of((0, self.size))

    async def root_of_first(self, size: int) -> bytes:
        """Compute the root as it was when there were `size` records."""
        return await self._hash_of((0, size))

    async def inclusion_path(self, sequence: int) -> list[bytes]:
        """Prove that a record is in the tree."""
        return [await self._hash_of(part) for part in inclusion_parts(sequence - 1, self.size)]

    async def consistency_path(self, old_size: int) -> list[bytes]:
        """Prove that the tree begins with the one over `old_size` records."""
        return [await self._hash_of(part) for part in consistency_parts(old_size, self.size)]

    async def _hash_of(self, part: Part) -> bytes:
        return root_over([await self._full_tree(level, index) for level, index in full_trees(part)])

    async def _full_tree(self, level: int, index: int) -> bytes:
        """Find a full tree's root: all that is below it down to the next stored level is of one tile."""
        stored, above = divmod(level, LEVELS_OF_TILE)
        tile, place = divmod(index, TILE_HASHES >> above)
        roots = (await self._tile(stored, tile))[above]
        if place >= len(roots):
            raise UnavailableError("The tree isn't computed that far yet.", reason="tree_behind")
        return roots[place]

    async def _tile(self, stored: int, tile: int) -> Tile:
        known = self._tiles.get((stored, tile))
        if known is None:
            first = tile * TILE_HASHES
            last = min(first + TILE_HASHES, self.size >> stored * LEVELS_OF_TILE)
            hashes = await read_hashes(self._connection, self._book_id, stored * LEVELS_OF_TILE, first, last)
            known = _tile_over(hashes)
            if len(self._tiles) >= TILES_KEPT_MAX:
                self._tiles.popitem(last=False)
            self._tiles[stored, tile] = known
        self._tiles.move_to_end((stored, tile))
        return known


def _tile_over(hashes: list[bytes]) -> Tile:
    levels = [hashes]
    for _ in range(1, LEVELS_OF_TILE):
        below = levels[-1]
        levels.append([node_hash(below[place], below[place + 1]) for place in range(0, len(below) - 1, 2)])
    return levels


async def read_hashes(connection: Connection, book_id: int, level: int, first: int, end: int) -> list[bytes]:
    """Read the hashes of a stored level, from number `first` to before `end`; level 0 are the leaves."""
    if level == 0:
        return [leaf_hash(digest) for (digest,) in await connection.fetch(_RECORD_HASHES, book_id, first, end)]
    return [digest for (digest,) in await connection.fetch(_NODES, book_id, level, first, end)]


async def nodes_due(connection: Connection, book_id: int, size: int, *, nodes_max: int) -> list[Node]:
    """Compute the stored nodes that are missing for `size` records, lower levels first, at most `nodes_max`."""
    due: list[Node] = []
    level = LEVELS_OF_TILE
    while size >> level and not due:
        last = await connection.fetch(_LAST_NODE, book_id, level)
        following = last[0][0] + 1 if last else 0
        for index in range(following, min(size >> level, following + nodes_max)):
            below = index * TILE_HASHES
            hashes = await read_hashes(connection, book_id, level - LEVELS_OF_TILE, below, below + TILE_HASHES)
            if len(hashes) < TILE_HASHES:
                raise UnavailableError("The journal has a gap under the tree.", reason="tree_behind")
            due.append((level, index, merkle_root(hashes)))
        level += LEVELS_OF_TILE
    return due


async def store_nodes(connection: Connection, book_id: int, nodes: Iterable[Node]) -> None:
    """Write nodes; where another notary was faster with any of them, write none: the next look tells what lacks."""
    with suppress(DuplicateKeyError):
        await connection.execute_many(_INSERT_NODE, [(book_id, level, index, digest) for level, index, digest in nodes])
