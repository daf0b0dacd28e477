"""Merkle trees as in Certificate Transparency: a leaf can be proven to be in a tree by log2(n) hashes.

Leaves and nodes are hashed with different first bytes, so that no node can pass for a leaf. Source: RFC 9162, 2.1.
"""

from collections.abc import Sequence
from hashlib import sha256

LEAF_PREFIX = b"\x00"
"""What leaves are hashed with."""

NODE_PREFIX = b"\x01"
"""What pairs of nodes are hashed with."""

EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(content: bytes) -> bytes:
    """Hash a leaf."""
    return sha256(LEAF_PREFIX + content).digest()


def merkle_root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Compute a tree's root from the hashes of its leaves.

    Pairing from the left and carrying an odd last node up gives the RFC's tree, whose left part is the largest power of
    two below the number of leaves.
    """
    if not leaf_hashes:
        return EMPTY_ROOT
    level = list(leaf_hashes)
    if len(level) == 2:  # noqa: PLR2004 - what most entries have
        return sha256(NODE_PREFIX + level[0] + level[1]).digest()
    while len(level) > 1:
        paired = [sha256(NODE_PREFIX + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = paired + level[-1:] if len(level) % 2 else paired
    return level[0]
