"""Proofs of Certificate Transparency: which parts of a tree they are made of, and how a path is followed. Pure.

A part is a range of leaves, [start, end), whose hash is the root over these leaves alone. `tree.py` finds these hashes
in the database. Source: RFC 9162, 2.1.

Of the libraries, pymerkle comes closest and is not used: it hashes every leaf through a synchronous store, one call a
leaf, keeps inner nodes in memory only, and is under the GPL. What is left of the task without a store is this page.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from services.ledger.domain.merkle import EMPTY_ROOT, NODE_PREFIX

Part = tuple[int, int]
"""A range of leaves: the first, and the one after the last."""


class ProofError(ValueError):
    """A proof doesn't prove it."""


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash a pair."""
    return sha256(NODE_PREFIX + left + right).digest()


def inclusion_parts(index: int, size: int) -> list[Part]:
    """List the parts whose hashes lead from leaf `index` to the root of the first `size` leaves, lowest first."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    parts: list[Part] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _left_size(end - start)
        if index < middle:
            parts.append((middle, end))
            end = middle
        else:
            parts.append((start, middle))
            start = middle
    return parts[::-1]


def consistency_parts(old_size: int, size: int) -> list[Part]:
    """List the parts whose hashes show that a tree of `old_size` leaves is the beginning of one of `size`."""
    if not 0 < old_size <= size:
        raise ValueError(f"a tree of {old_size} is not the beginning of one of {size}")
    parts: list[Part] = []
    start, end = 0, size
    while old_size != end:
        middle = start + _left_size(end - start)
        if old_size <= middle:
            parts.append((middle, end))
            end = middle
        else:
            parts.append((start, middle))
            start = middle
    if start > 0:  # otherwise it is the old tree itself, whose root the verifier has
        parts.append((start, end))
    return parts[::-1]


def root_by_inclusion(*, index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """Compute the root that a path leads to.

    Raises:
        ProofError: The path is longer or shorter than the tree is high.
    """
    if not 0 <= index < size:
        raise ProofError("the leaf is not in the tree")
    at, last, digest = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ProofError("the path is too long")
        if at & 1 or at == last:
            digest = node_hash(sibling, digest)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            digest = node_hash(digest, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofError("the path is too short")
    return digest


def full_trees(part: Part) -> list[tuple[int, int]]:
    """Split a part into full trees from left to right, each as its level and its number on that level.

    The part begins where a tree of its size may begin, as all parts of proofs do.
    """
    start, end = part
    trees = []
    while start < end:
        level = (end - start).bit_length() - 1
        trees.append((level, start >> level))
        start += 1 << level
    return trees


def root_over(hashes: Sequence[bytes]) -> bytes:
    """Join the hashes of `full_trees`."""
    if not hashes:
        return EMPTY_ROOT
    digest = hashes[-1]
    for left in reversed(hashes[:-1]):
        digest = node_hash(left, digest)
    return digest


@dataclass(slots=True)
class GrowingTree:
    """The root of a tree whose leaves come one after the other: log2(n) hashes in memory."""

    size: int = 0
    _peaks: list[bytes] = field(default_factory=list)

    def append(self, leaf: bytes) -> None:
        """Take the next leaf's hash."""
        at, digest = self.size, leaf
        while at & 1:
            digest = node_hash(self._peaks.pop(), digest)
            at >>= 1
        self._peaks.append(digest)
        self.size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Take more leaves."""
        for leaf in leaves:
            self.append(leaf)

    @property
    def root(self) -> bytes:
        """Tell the root over all leaves so far."""
        return root_over(self._peaks)


def _left_size(size: int) -> int:
    """Tell the largest power of two below a size."""
    return 1 << (size - 1).bit_length() - 1
