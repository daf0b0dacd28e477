"""Fees as the book posts them: golden cases, and that any split of captures and refunds ends as the whole would."""

from collections import Counter
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.domain.account import AccountType, system_account_code
from services.ledger.domain.journal import RecordKind
from tests.support.ledger_book import MemoryBook
from tests.support.ledger_commands import BUYER, OTHER_SELLER, SELLER, capture, deposit, refund, reserve, reverse

SPLITS = st.lists(st.integers(1, 5_000), min_size=1, max_size=6)
RATES = st.one_of(st.sampled_from((0, 1, 250, 333, 3_333, 9_999, 10_000)), st.integers(0, 10_000))


def revenue_minor(book: MemoryBook) -> int:
    return book.state.accounts[system_account_code(AccountType.REVENUE, "EUR")].posted_minor


def bought(total: int) -> MemoryBook:
    return MemoryBook(deposit(amount=total), reserve(amount=total))


def capture_all(book: MemoryBook, parts: list[int], rate: int, seller: UUID = SELLER) -> None:
    for number, part in enumerate(parts, start=1):
        book.accept(capture(parts={seller: part}, fee=rate, number=number))


def cut(total: int, data: st.DataObject) -> list[int]:
    """Cut a sum into parts anywhere."""
    cuts = data.draw(st.lists(st.integers(1, max(1, total - 1)), unique=True, max_size=4)) if total > 1 else []
    return [end - begin for begin, end in pairwise([0, *sorted(cuts), total])]


@pytest.mark.parametrize(
    ("rate", "parts", "fees"),
    [
        (250, [1_000], [25]),
        (250, [39, 1], [0, 1]),  # 0.975 and then 1.000
        (250, [1, 39], [0, 1]),
        (333, [111] * 9, [3, 4, 4, 3, 4, 4, 3, 4, 4]),  # 3.6963 each, 33.2667 in all
        (3_333, [1, 1, 1, 1], [0, 0, 0, 1]),
        (3_334, [1, 1, 1], [0, 0, 1]),
        (10_000, [1, 2], [1, 2]),
        (0, [1, 2], [0, 0]),
        (9_999, [1, 1], [0, 1]),
        (1, [9_999, 1], [0, 1]),
    ],
)
def test_a_fee_is_rounded_down_over_all_captures_so_far(rate: int, parts: list[int], fees: list[int]) -> None:
    book = bought(sum(parts))
    taken = [0]

    for number, part in enumerate(parts, start=1):
        book.accept(capture(parts=part, fee=rate, number=number))
        taken.append(revenue_minor(book))

    assert [after - before for before, after in pairwise(taken)] == fees


@pytest.mark.parametrize(
    ("gross", "rate", "refunds", "given_back"),
    [
        (1_000, 250, [400, 600], [10, 15]),
        (1_000, 333, [1, 999], [0, 33]),
        (1_000, 333, [500, 500], [16, 17]),
        (3, 3_333, [1, 1, 1], [0, 0, 0]),  # the fee was 0
        (3, 5_000, [1, 1, 1], [0, 0, 1]),  # the fee was 1
        (7, 10_000, [3, 4], [3, 4]),
        (701, 333, [100, 300, 301], [3, 10, 10]),  # 23 in all: 3.28, 13.12, 23
    ],
)
def test_a_fee_goes_back_rounded_down_over_all_refunds_so_far(
    gross: int, rate: int, refunds: list[int], given_back: list[int]
) -> None:
    book = bought(gross)
    book.accept(capture(parts=gross, fee=rate))
    left = [revenue_minor(book)]

    for part in refunds:
        book.accept(refund(parts=part))
        left.append(revenue_minor(book))

    assert [before - after for before, after in pairwise(left)] == given_back
    assert left[-1] == 0


@given(SPLITS, RATES)
def test_any_split_of_captures_pays_as_the_whole_would(parts: list[int], rate: int) -> None:
    whole, split = bought(sum(parts)), bought(sum(parts))
    capture_all(whole, [sum(parts)], rate)

    capture_all(split, parts, rate)

    assert revenue_minor(split) == revenue_minor(whole) == sum(parts) * rate // 10_000
    assert split.account(SELLER).posted_minor == whole.account(SELLER).posted_minor


@given(SPLITS, RATES, st.data())
def test_any_split_of_captures_and_refunds_and_reversals_ends_as_if_nothing_had_been_sold(
    parts: list[int], rate: int, data: st.DataObject
) -> None:
    total = sum(parts)
    book = bought(total)
    capture_all(book, parts, rate)
    records = [record.sequence for record in book.records if record.kind is RecordKind.CAPTURE]

    for number, part in data.draw(st.permutations(list(enumerate(parts, start=1)))):
        pieces = cut(part, data)
        reversed_after = data.draw(st.integers(0, len(pieces)))
        for piece in pieces[:reversed_after]:
            book.accept(refund(parts=piece, number=number))
            assert revenue_minor(book) >= 0
            assert book.account(SELLER).posted_minor >= 0
        if reversed_after < len(pieces):
            book.accept(reverse(records[number - 1]))

    assert (book.account(BUYER).posted_minor, book.account(SELLER).posted_minor, revenue_minor(book)) == (total, 0, 0)
    assert book.hold().refunded_minor == total


@given(st.integers(1, 9_999), st.integers(1, 9_999), RATES, st.data())
def test_each_seller_of_a_capture_is_rounded_for_itself(mine: int, theirs: int, rate: int, data: st.DataObject) -> None:
    book = bought(mine + theirs)
    book.accept(capture(parts={SELLER: mine, OTHER_SELLER: theirs}, fee=rate))
    assert revenue_minor(book) == mine * rate // 10_000 + theirs * rate // 10_000

    for piece in cut(mine, data):
        book.accept(refund(parts=piece))

    assert book.account(SELLER).posted_minor == 0
    assert revenue_minor(book) == theirs * rate // 10_000


@given(st.lists(st.tuples(st.sampled_from((SELLER, OTHER_SELLER)), st.integers(1, 99), RATES), min_size=1, max_size=8))
def test_each_seller_of_a_hold_is_rounded_over_its_own_captures_at_each_rate(
    captures: list[tuple[UUID, int, int]],
) -> None:
    book = bought(sum(part for _, part, _ in captures))
    totals: Counter[tuple[UUID, int]] = Counter()

    for number, (seller, part, rate) in enumerate(captures, start=1):
        book.accept(capture(parts={seller: part}, fee=rate, number=number))
        totals[seller, rate] += part

    assert revenue_minor(book) == sum(total * rate // 10_000 for (_, rate), total in totals.items())
