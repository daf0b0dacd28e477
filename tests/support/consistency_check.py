"""What an auditor does with the ledger's consistency proofs. Source: RFC 9162, 2.1.4.2."""

from collections.abc import Sequence

from services.ledger.proof.merkle_proofs import ProofError, node_hash


def check_consistency(*, old_size: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> None:
    """Check that one tree is the beginning of another.

    Raises:
        ProofError: It isn't, or the path is another one.
    """
    if old_size == size:
        if path or old_root != root:
            raise ProofError("trees of one size have one root and need no path")
        return
    if not 0 < old_size < size or not path:
        raise ProofError("there is nothing to compare")
    hashes = [old_root, *path] if old_size & (old_size - 1) == 0 else list(path)
    old_digest, digest = _climb(old_size - 1, size - 1, hashes)
    if old_digest != old_root or digest != root:
        raise ProofError("the trees differ")


def _climb(at: int, last: int, hashes: list[bytes]) -> tuple[bytes, bytes]:
    """Compute the old and the new root along a consistency path."""
    while at & 1:
        at, last = at >> 1, last >> 1
    old_digest = digest = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ProofError("the path is too long")
        if at & 1 or at == last:
            old_digest, digest = node_hash(sibling, old_digest), node_hash(sibling, digest)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            digest = node_hash(digest, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofError("the path is too short")
    return old_digest, digest
