"""The layout of what is hashed never changes: these bytes and hashes were worked out once and are pinned."""

from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.ledger.commands.shape import KeyedCommand
from services.ledger.commands.transfer import ReceivableRef
from services.ledger.domain.canonical import FieldReader, encode_fields
from services.ledger.domain.journal import GENESIS_HASH, Posting
from services.ledger.domain.keys import fingerprint_of, key_hash_of
from services.ledger.domain.merkle import EMPTY_ROOT, leaf_hash, merkle_root
from services.ledger.domain.proof import Sealer, details_hash, posting_hash, record_hash, uuid7_bytes
from services.ledger.domain.state_after import decode_state_after, encode_state_after
from services.runtime.clock import to_micros
from tests.support.ledger_book import MemoryBook
from tests.support.ledger_commands import (
    BUYER,
    NOW,
    OTHER_SELLER,
    REVENUE,
    SELLER,
    capture,
    commit,
    deposit,
    leg,
    open_account,
    refund,
    reserve,
    reverse,
    set_limit,
    transfer,
    void,
    withdraw,
)

ID = UUID("018f0000-0000-7000-8000-000000000001")
AT = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)


def counted(length: int) -> bytes:
    """Stand for randomness by counting from 0."""
    return bytes(index % 256 for index in range(length))


def a_sealer() -> Sealer:
    return Sealer(book_id=1, last_hash=GENESIS_HASH, tails={}, random_bytes=counted)


def test_canonical_bytes_are_a_length_and_then_the_field() -> None:
    encoded = encode_fields(1, -2, "é", b"\0", None, b"", ID, AT)

    assert encoded == bytes.fromhex(
        """
        00 00 00 08 00 00 00 00 00 00 00 01
        00 00 00 08 ff ff ff ff ff ff ff fe
        00 00 00 02 c3 a9
        00 00 00 01 00
        ff ff ff ff
        00 00 00 00
        00 00 00 10 01 8f 00 00 00 00 70 00 80 00 00 00 00 00 00 01
        00 00 00 08 00 06 4b f5 35 af 10 01
        """
    )


FIELDS = st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(), st.binary(), st.none()))


@given(FIELDS, FIELDS)
def test_two_lists_of_fields_never_have_the_same_bytes(one: list[int | str], other: list[int | str]) -> None:
    def typeless(fields: list[int | str]) -> list[object]:
        # The reader knows the types: text and its UTF-8, a number and its eight bytes are the same field.
        encoded = [field.encode() if isinstance(field, str) else field for field in fields]
        return [field.to_bytes(8, "big", signed=True) if isinstance(field, int) else field for field in encoded]

    assert (encode_fields(*one) == encode_fields(*other)) == (typeless(one) == typeless(other))


@pytest.mark.parametrize("cut", [1, 3, 4, 11])
def test_cut_bytes_are_not_read(cut: int) -> None:
    with pytest.raises(ValueError, match="canonical"):
        FieldReader(encode_fields(7)[:cut]).integer()


def test_a_tree_is_hashed_as_in_rfc_9162() -> None:
    leaves = [
        leaf_hash(content) for content in (b"", b"\0", b"\x10", b" !", b"01", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno")
    ]

    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    # The known answers of Certificate Transparency's reference tests.
    assert merkle_root(leaves[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle_root(leaves[:2]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert merkle_root(leaves[:3]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    assert merkle_root(leaves[:7]).hex() == "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"
    assert merkle_root(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=20))
def test_the_left_part_of_a_tree_is_the_largest_power_of_two_below_it(leaves: list[bytes]) -> None:
    def by_the_rfc(part: list[bytes]) -> bytes:
        if len(part) == 1:
            return part[0]
        left = 1 << (len(part) - 1).bit_length() - 1
        return sha256(b"\x01" + by_the_rfc(part[:left]) + by_the_rfc(part[left:])).digest()

    assert merkle_root(leaves) == by_the_rfc(leaves)


def test_a_postings_hash_is_a_leaf_over_its_canonical_bytes() -> None:
    posting = Posting(account_id=3, account_sequence=4, amount_minor=-5, balance_after_minor=6)
    salt, previous = counted(16), b"\x07" * 32

    digest = posting_hash(book_id=1, sequence=2, leg=0, posting=posting, salt=salt, previous_hash=previous)

    assert digest == leaf_hash(encode_fields(1, 1, 2, 0, 3, 4, -5, 6, salt, previous))
    assert digest.hex() == "59f180d7b74749393e753d54463ddd3306f2517ae106ece02aef1fea3fdc88ad"


def test_a_records_hash_covers_every_field_in_its_order() -> None:
    fields = {
        "book_id": 1,
        "sequence": 2,
        "kind": b"capture",
        "hold_id": ID.bytes,
        "recorded_at_micros": to_micros(AT),
        "effective_at_micros": to_micros(NOW),
        "details_hash": b"\x01" * 32,
        "postings_root": b"\x02" * 32,
        "previous_hash": b"\x03" * 32,
    }

    digest = record_hash(**fields)  # type: ignore[arg-type]  # a dict of all the arguments

    shown = encode_fields(1, 1, 2, "capture", ID, AT, NOW, b"\x01" * 32, b"\x02" * 32, b"\x03" * 32)
    assert digest == sha256(shown).digest()
    assert digest.hex() == "b2cfd88d294528b34190c1dae44e4afa73ea344c53ed0a28e7dbe46d25520d57"
    assert record_hash(**{**fields, "hold_id": None}) != digest  # type: ignore[arg-type]  # the same


def test_what_a_statement_hides_is_hashed_field_by_field() -> None:
    fields = {
        "record_id": ID.bytes,
        "key_hash": b"\x01" * 32,
        "fingerprint_version": 1,
        "fingerprint": b"\x02" * 32,
        "state_after": b"state",
        "metadata": b"note",
    }
    unkeyed = {**fields, "fingerprint_version": None, "fingerprint": None}

    digest = details_hash(**fields)  # type: ignore[arg-type]  # a dict of all the arguments

    assert digest == sha256(encode_fields(1, *fields.values())).digest()  # type: ignore[arg-type]  # the same
    assert digest.hex() == "ded95d7664429fec4704f678fda9b602ae5a50f761b56617304f3d224310ea33"
    assert details_hash(**unkeyed) == sha256(encode_fields(1, *unkeyed.values())).digest()  # type: ignore[arg-type]  # the same


def test_the_state_after_has_its_golden_bytes() -> None:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1_000), capture(parts=400))

    states = [encode_state_after(record).hex() for record in book.records]

    assert (
        sha256("\n".join(states).encode()).hexdigest()
        == "cfc9c2736a5cdd5145897b006d4804b0c465ef1acc67a6c9ed8dac8c5d77009a"
    )
    assert states[2] == "000000080000000000000001" + "000000080000000000000000" * 4, "a deposit leaves only balances"


def test_the_state_after_is_its_values_field_by_field() -> None:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1_000), capture(parts=400))
    record = replace(book.records[-1], account=book.account(), reverses=7)
    account, hold, (leg,) = book.account(), book.hold(), record.capture_legs

    encoded = encode_state_after(record)

    opened = (account.account_id, account.code, "wallet", account.wallet_id, "EUR", account.opened_sequence, 0, 2)
    held = (hold.hold_id, "orders", BUYER, hold.account_id, "EUR", "committed", 1_000, 400, 0, 0, None)
    paid = (leg.hold_id, 1, SELLER, leg.account_id, 250, 400, 10, 0, 0, 0, leg.last_sequence)
    assert encoded == encode_fields(1, 1, *opened, 1, *held, hold.last_sequence, 1, *paid, 7)


def test_a_small_book_has_its_golden_head() -> None:
    book = MemoryBook(
        deposit(amount=1_000, idempotency_key="deposit", note="é"),
        reserve(amount=1_000, idempotency_key="reserve"),
        capture(parts=400, idempotency_key="capture"),
        void(idempotency_key="void"),
    )
    sealer = a_sealer()

    sealed = sealer.seal(book.records)

    assert [record.record.kind.value for record in sealed][-3:] == ["account_opened", "capture", "void"]
    assert sealer.last_hash.hex() == "797b6da64da09e4d0a178bf6c9d79ff28b63add5ebf8fb5c866df82bd6ffa43c"


def test_what_a_record_left_behind_is_read_back() -> None:
    book = MemoryBook(deposit(), reserve(commit=False, expires_at=NOW.replace(hour=13)), capture(parts=400), void("x"))
    book.accept(reverse(book.records[-2].sequence))

    for record in book.records:
        state = decode_state_after(encode_state_after(record))

        left = (state.account, state.hold, state.capture_legs, state.reverses)
        assert left == (record.account, record.hold, record.capture_legs, record.reverses)


def test_a_state_with_bytes_behind_it_is_not_read() -> None:
    state = encode_state_after(MemoryBook(deposit()).records[0])

    with pytest.raises(ValueError, match="follow"):
        decode_state_after(state + b"\0")
    with pytest.raises(ValueError, match="version"):
        decode_state_after(encode_fields(2))


def test_sealing_in_one_go_or_record_by_record_gives_the_same_chain_but_for_salts() -> None:
    book = MemoryBook(deposit(), reserve(), capture())

    def unsalted(length: int) -> bytes:
        return bytes(length)

    at_once = Sealer(book_id=1, last_hash=GENESIS_HASH, tails={}, random_bytes=unsalted)
    at_once.seal(book.records)
    one_by_one = Sealer(book_id=1, last_hash=GENESIS_HASH, tails={}, random_bytes=unsalted)
    for record in book.records:
        one_by_one.seal([record])

    assert (at_once.last_hash, at_once.tails) == (one_by_one.last_hash, one_by_one.tails)


def test_a_salt_hides_equal_postings() -> None:
    book = MemoryBook(deposit(), deposit(SELLER))

    sealed = a_sealer().seal(book.records)

    salts = [posting.salt for record in sealed for posting in record.postings]
    assert len(set(salts)) == len(salts)


def test_any_change_of_an_early_record_changes_the_head() -> None:
    book = MemoryBook(deposit(), reserve(), capture())
    honest, forged = a_sealer(), a_sealer()

    honest.seal(book.records)
    forged.seal([replace(book.records[0], metadata=b"x"), *book.records[1:]])

    assert honest.last_hash != forged.last_hash


def test_a_record_id_is_a_uuid_of_version_7_and_its_time() -> None:
    identifier = UUID(bytes=uuid7_bytes(to_micros(NOW), b"\xff" * 10))

    assert (identifier.version, identifier.variant) == (7, UUID(int=0x8000 << 48).variant)
    assert identifier.int >> 80 == int(NOW.timestamp() * 1000)


def test_keys_and_fingerprints_have_their_golden_hashes() -> None:
    assert key_hash_of("orders", "k").hex() == "5ef3877e244682548af2afe937d52db9b4ffa4d3162aaadd6378410331071c1c"
    assert key_hash_of("order", "sk") != key_hash_of("orders", "k")
    assert (
        fingerprint_of("deposit", BUYER, 1, "EUR", "", None).hex()
        == "de9d8d4deaa4294ac5623c049699e3db0093bd4026c9a15c58a09fc904317923"
    )
    assert deposit(amount=1).fingerprint == fingerprint_of("deposit", BUYER, 1, "EUR", "", None)


FINGERPRINTS = [
    (open_account(currency="USD"), "fc27dbd4aa72fca65bf2c8abb4003eea2c28b7e6acb847642ed49c8eb03980d6"),
    (
        deposit(amount=1, note="n", effective_at=NOW),
        "03650deb3f2abdc37770ca67534040e4796ab7a601837df69494b6b51c333626",
    ),
    (
        withdraw(amount=1, note="n", effective_at=NOW),
        "5d86f6cdb008c6a43a2135e8de73d47161535329250a9ef755e282b2a7e32d34",
    ),
    (
        transfer(leg(BUYER, -3), leg(REVENUE, 2), leg(ReceivableRef(SELLER), 1), effective_at=NOW),
        "54756b180fe0d8d6195f59d513c3ee2d5ec2489303d6e30b2f13b69b1a52d36d",
    ),
    (set_limit(limit=7), "84e9a1e1583e924f4333fe39f25a45a226ba94a25fcc3adcf4bf587cdca4270c"),
    (
        reserve(amount=5, commit=False, expires_at=NOW),
        "3d52945c568cd4774bc2617df5f576777ac6b2cefbdbd4e34056f06981b1c014",
    ),
    (commit(), "a182a277628115d5d25156c07b48b5d43f3fde30f781a3e496e67d917309499b"),
    (void(), "5b8dc2846a327586f53057e9849b59c98967d4a4b18dc693a3cc7826eca762cf"),
    (
        capture(parts={SELLER: 2, OTHER_SELLER: 3}, fee=4, number=5, final=True),
        "3c74b9836ee2ad6d43e9f0dc69f78194874ce35433c8bb31d447765140170020",
    ),
    (
        refund(parts={SELLER: 2, OTHER_SELLER: 3}, number=4),
        "3a6bec97517dab5eeb0da0311198ce834b74a1c87b113ba955be5b5c9e05794a",
    ),
    (reverse(9), "9bbb3cc84b2a4d57e2e7ab7c4448d70561de3538ab803a35be28b413f39b351f"),
    (
        deposit(amount=1, metadata={"b": "ü", "a": "1"}),
        "f292b2f20914be2bebf153fe6267ef1324f255b3f46611809080a22810dfea67",
    ),
]
"""What callers repeat after an upgrade is found under its key by these: other ones would be other content."""


@pytest.mark.parametrize(("command", "fingerprint"), FINGERPRINTS, ids=[each.kind for each, _ in FINGERPRINTS])
def test_each_command_has_its_golden_fingerprint(command: KeyedCommand, fingerprint: str) -> None:
    assert command.fingerprint.hex() == fingerprint
