"""The notary keeps the tree behind the journal, and signs what is committed and nothing else."""

from pathlib import Path

import pytest

from services.ledger.domain.merkle import leaf_hash, merkle_root
from services.ledger.proof.heads import SignatureError, TrustedKeys
from services.ledger.proof.key_folder import SigningKeysError, add_signing_key, read_signing_keys
from services.ledger.proof.merkle_proofs import root_by_inclusion
from services.ledger.proof.notary import JournalChangedError, Notary
from services.ledger.proof.tree import TreeReader
from tests.support import ledger_commands as a
from tests.support.consistency_check import check_consistency
from tests.support.ledger_proof import NotarisedBook, some_trade


@pytest.fixture
async def book(tmp_path: Path) -> NotarisedBook:
    return await NotarisedBook.begin(tmp_path)


def leaves_of(book: NotarisedBook) -> list[bytes]:
    return [leaf_hash(digest) for (digest,) in book.look("SELECT hash FROM records ORDER BY sequence")]


async def test_a_head_is_the_root_over_all_records(book: NotarisedBook) -> None:
    await book.commit(some_trade())

    head = await book.sign()

    leaves = leaves_of(book)
    assert (head.tree_size, head.root) == (len(leaves), merkle_root(leaves))
    assert book.look("SELECT hash FROM records ORDER BY sequence DESC LIMIT 1") == [(head.last_hash,)]
    TrustedKeys.of(await book.keys()).check_head(head)


async def test_looking_again_signs_nothing_new(book: NotarisedBook) -> None:
    await book.commit(some_trade())

    first = await book.sign()
    await book.clock.advance(10)

    assert await book.sign() == first
    assert book.look("SELECT COUNT(*) FROM signed_heads") == [(1,)]


async def test_two_notaries_agree(book: NotarisedBook) -> None:
    await book.commit(some_trade())
    other = Notary(book.book, book.clock, keys_folder=book.keys_folder)

    assert await other.run_once() == await book.sign()


async def test_an_empty_book_has_no_head(book: NotarisedBook) -> None:
    await book.commit([])

    assert await book.notary.run_once() is None


async def test_without_keys_the_tree_is_kept_and_nothing_is_signed(book: NotarisedBook) -> None:
    await book.commit([a.deposit() for _ in range(300)])

    head = await Notary(book.book, book.clock, keys_folder=None).run_once()

    assert head is None
    assert book.look("SELECT level, node_index FROM tree_nodes") == [(8, 0)]


async def test_stored_tiles_prove_every_record_and_every_earlier_tree(book: NotarisedBook) -> None:
    await book.commit([a.deposit() for _ in range(800)])
    head = await book.sign()
    leaves = leaves_of(book)

    async with book.database.snapshot() as connection:
        tree = TreeReader(connection, 1, head.tree_size)
        for sequence in (1, 2, 255, 256, 257, 512, 513, head.tree_size - 1, head.tree_size):
            path = await tree.inclusion_path(sequence)
            leaf = leaves[sequence - 1]
            assert root_by_inclusion(index=sequence - 1, size=head.tree_size, leaf=leaf, path=path) == head.root
            old_root = await tree.root_of_first(sequence)
            assert old_root == merkle_root(leaves[:sequence])
            check_consistency(
                old_size=sequence,
                old_root=old_root,
                size=head.tree_size,
                root=head.root,
                path=await tree.consistency_path(sequence),
            )


async def test_a_stored_tile_is_the_root_of_its_records(book: NotarisedBook) -> None:
    await book.commit([a.deposit() for _ in range(600)])
    await book.sign()
    leaves = leaves_of(book)

    nodes = book.look("SELECT level, node_index, hash FROM tree_nodes ORDER BY node_index")

    assert nodes == [(8, 0, merkle_root(leaves[:256])), (8, 1, merkle_root(leaves[256:512]))]


async def test_a_journal_that_was_rewritten_is_not_signed_again(book: NotarisedBook) -> None:
    await book.commit(some_trade())
    await book.sign()
    book.change("UPDATE records SET hash = zeroblob(32) WHERE sequence = 3")
    await book.commit([a.deposit()])

    with pytest.raises(JournalChangedError):
        await book.notary.run_once()


async def test_a_journal_that_was_cut_is_not_signed_again(book: NotarisedBook) -> None:
    await book.commit(some_trade())
    head = await book.sign()
    book.change("DELETE FROM records WHERE sequence = ?", head.tree_size)
    book.change(
        "UPDATE books SET last_sequence = ?, last_hash = (SELECT hash FROM records WHERE sequence = ?)",
        head.tree_size - 1,
        head.tree_size - 1,
    )

    with pytest.raises(JournalChangedError):
        await book.notary.run_once()


async def test_a_new_key_is_vouched_for_by_the_one_before_it(book: NotarisedBook) -> None:
    await book.commit(some_trade())
    old = await book.sign()
    await book.clock.advance(10)
    add_signing_key(book.keys_folder, "second.json", made_at_seconds=2**31)
    await book.commit([a.deposit()])

    new = await book.sign()

    first, second = await book.keys()
    assert (old.key_id, new.key_id) == (first.kid, second.kid)
    assert (first.endorsed_by, second.endorsed_by) == (None, first.kid)
    TrustedKeys.of([first, second], anchors=[first]).check_head(new)
    with pytest.raises(SignatureError, match="vouches"):
        TrustedKeys.of([first, second], anchors=[])


async def test_keys_stay_in_their_order_when_the_clock_is_set_back(book: NotarisedBook) -> None:
    await book.commit(some_trade())
    heads = [await book.sign()]
    for number, name in enumerate(("second.json", "third.json")):
        await book.clock.advance(-10)
        add_signing_key(book.keys_folder, name, made_at_seconds=2**31 + number)
        await book.commit([a.deposit()])
        heads.append(await book.sign())

    keys = await book.keys()
    assert [key.kid for key in keys] == [head.key_id for head in heads]
    assert [key.endorsed_by for key in keys] == [None, keys[0].kid, keys[1].kid]
    TrustedKeys.of(keys).check_head(heads[-1])


async def test_a_key_that_nobody_can_vouch_for_signs_nothing(book: NotarisedBook, tmp_path: Path) -> None:
    await book.commit(some_trade())
    await book.sign()
    other = tmp_path / "other-keys"
    other.mkdir()
    add_signing_key(other, "other.json", made_at_seconds=2**31)
    await book.commit([a.deposit()])

    with pytest.raises(SigningKeysError, match="vouch"):
        await Notary(book.book, book.clock, keys_folder=other).run_once()


def test_a_folder_of_other_files_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text('{"keys": [{"kty": "RSA"}]}')

    with pytest.raises(SigningKeysError, match=r"keys\.json"):
        read_signing_keys(tmp_path)


def test_a_key_under_a_wrong_name_is_refused(tmp_path: Path) -> None:
    add_signing_key(tmp_path, "key.json", made_at_seconds=1)
    (key,) = read_signing_keys(tmp_path).keys
    file = tmp_path / "key.json"
    file.write_text(file.read_text().replace(key.key_id, "another"))

    with pytest.raises(SigningKeysError):
        read_signing_keys(tmp_path)


def test_keys_are_for_their_owners_eyes(tmp_path: Path) -> None:
    add_signing_key(tmp_path, "key.json", made_at_seconds=1)

    assert (tmp_path / "key.json").stat().st_mode & 0o777 == 0o600
