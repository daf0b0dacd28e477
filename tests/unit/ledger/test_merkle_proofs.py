"""The tree's proofs are those of RFC 9162, and prove nothing else."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.domain.merkle import EMPTY_ROOT, leaf_hash, merkle_root
from services.ledger.proof.merkle_proofs import (
    GrowingTree,
    ProofError,
    consistency_parts,
    full_trees,
    inclusion_parts,
    node_hash,
    root_by_inclusion,
    root_over,
)
from tests.support.consistency_check import check_consistency

CONTENTS = (b"", b"\0", b"\x10", b" !", b"01", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno")
"""The leaves of Certificate Transparency's reference tests."""

LEAVES = [leaf_hash(content) for content in CONTENTS]
SIZES = st.integers(1, 700)


def leaves_of(size: int) -> list[bytes]:
    return [leaf_hash(index.to_bytes(4, "big")) for index in range(size)]


def root_by_the_rfc(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, word for word."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    left = next(1 << power for power in range(64) if 1 << power < len(leaves) <= 2 << power)
    return node_hash(root_by_the_rfc(leaves[:left]), root_by_the_rfc(leaves[left:]))


def path_by_the_rfc(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 9162, 2.1.3.1, word for word."""
    if len(leaves) == 1:
        return []
    left = next(1 << power for power in range(64) if 1 << power < len(leaves) <= 2 << power)
    if index < left:
        return [*path_by_the_rfc(index, leaves[:left]), root_by_the_rfc(leaves[left:])]
    return [*path_by_the_rfc(index - left, leaves[left:]), root_by_the_rfc(leaves[:left])]


def subproof_by_the_rfc(old_size: int, leaves: list[bytes], *, is_whole: bool) -> list[bytes]:
    """RFC 9162, 2.1.4.1, word for word."""
    if old_size == len(leaves):
        return [] if is_whole else [root_by_the_rfc(leaves)]
    left = next(1 << power for power in range(64) if 1 << power < len(leaves) <= 2 << power)
    if old_size <= left:
        return [*subproof_by_the_rfc(old_size, leaves[:left], is_whole=is_whole), root_by_the_rfc(leaves[left:])]
    later = subproof_by_the_rfc(old_size - left, leaves[left:], is_whole=False)
    return [*later, root_by_the_rfc(leaves[:left])]


def inclusion_path(index: int, leaves: list[bytes]) -> list[bytes]:
    return [merkle_root(leaves[start:end]) for start, end in inclusion_parts(index, len(leaves))]


def consistency_path(old_size: int, leaves: list[bytes]) -> list[bytes]:
    return [merkle_root(leaves[start:end]) for start, end in consistency_parts(old_size, len(leaves))]


def test_the_known_trees_have_their_known_proofs() -> None:
    root = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"

    path = [digest.hex() for digest in inclusion_path(0, LEAVES)]
    between_six_and_eight = [digest.hex() for digest in consistency_path(6, LEAVES)]

    assert merkle_root(LEAVES).hex() == root
    assert path == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert between_six_and_eight == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(SIZES, st.data())
def test_paths_are_those_of_the_rfc(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    index, old_size = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))

    assert inclusion_path(index, leaves) == path_by_the_rfc(index, leaves)
    assert consistency_path(old_size, leaves) == subproof_by_the_rfc(old_size, leaves, is_whole=True)


@given(SIZES, st.data())
def test_what_is_in_the_tree_is_proven(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    index, old_size = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))

    root = root_by_inclusion(index=index, size=size, leaf=leaves[index], path=inclusion_path(index, leaves))
    check_consistency(
        old_size=old_size,
        old_root=merkle_root(leaves[:old_size]),
        size=size,
        root=merkle_root(leaves),
        path=consistency_path(old_size, leaves),
    )

    assert root == merkle_root(leaves)


@given(st.integers(2, 300), st.data())
def test_another_leaf_place_or_path_leads_to_no_root(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1).filter(lambda drawn: drawn != index))
    path = inclusion_path(index, leaves)
    position = data.draw(st.integers(0, len(path) - 1))
    changed = [*path[:position], sha256(path[position]).digest(), *path[position + 1 :]]

    def leads_to_the_root(index: int, leaf: bytes, path: list[bytes]) -> bool:
        try:
            return root_by_inclusion(index=index, size=size, leaf=leaf, path=path) == merkle_root(leaves)
        except ProofError:
            return False

    assert leads_to_the_root(index, leaves[index], path)
    assert not leads_to_the_root(index, leaves[other], path)
    assert not leads_to_the_root(other, leaves[index], path)
    assert not leads_to_the_root(index, leaves[index], changed)
    assert not leads_to_the_root(index, leaves[index], path[:-1])
    assert not leads_to_the_root(index, leaves[index], [*path, path[-1]])


@given(st.integers(2, 300), st.data())
def test_a_rewritten_beginning_is_consistent_with_nothing(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    old_size = data.draw(st.integers(1, size - 1))
    changed = data.draw(st.integers(0, old_size - 1))
    rewritten = [*leaves[:changed], sha256(leaves[changed]).digest(), *leaves[changed + 1 :]]

    with pytest.raises(ProofError):
        check_consistency(
            old_size=old_size,
            old_root=merkle_root(leaves[:old_size]),
            size=size,
            root=merkle_root(rewritten),
            path=consistency_path(old_size, rewritten),
        )


@given(st.integers(2, 300), st.data())
def test_a_consistency_path_has_one_length(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    old_size = data.draw(st.integers(1, size - 1))
    path = consistency_path(old_size, leaves)

    for wrong in (path[:-1], [*path, path[-1]], []):
        with pytest.raises(ProofError):
            check_consistency(
                old_size=old_size,
                old_root=merkle_root(leaves[:old_size]),
                size=size,
                root=merkle_root(leaves),
                path=wrong,
            )


def test_one_size_has_one_root() -> None:
    root = merkle_root(LEAVES)

    check_consistency(old_size=8, old_root=root, size=8, root=root, path=[])
    with pytest.raises(ProofError):
        check_consistency(old_size=8, old_root=root, size=8, root=EMPTY_ROOT, path=[])


@given(st.integers(0, 700))
def test_a_tree_that_grows_has_the_root_of_one_made_at_once(size: int) -> None:
    leaves = leaves_of(size)
    tree = GrowingTree()

    tree.extend(leaves)

    assert (tree.size, tree.root) == (size, merkle_root(leaves))


@given(SIZES, st.data())
def test_a_part_is_made_of_full_trees(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    for start, end in [*inclusion_parts(data.draw(st.integers(0, size - 1)), size), (0, size)]:
        full = [merkle_root(leaves[index << level : index + 1 << level]) for level, index in full_trees((start, end))]

        assert root_over(full) == merkle_root(leaves[start:end])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3)])
def test_a_leaf_outside_the_tree_has_no_path(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="not in a tree"):
        inclusion_parts(index, size)
