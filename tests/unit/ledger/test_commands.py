"""What each accepted command changes, records and tells."""

from datetime import timedelta

from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.domain.account import AccountType, system_account_code
from services.ledger.domain.hold import HoldState
from services.ledger.domain.wallet_event import (
    AccountOpened,
    FundsCaptured,
    FundsDeposited,
    FundsReserved,
    HoldCommitted,
    HoldExpired,
    HoldVoided,
    RefundCredited,
    RefundDebited,
    SaleCredited,
    SettlementRefused,
)
from services.money import Money
from tests.support.ledger_book import MemoryBook
from tests.support.ledger_commands import (
    BUYER,
    NOW,
    OTHER_SELLER,
    SELLER,
    STRANGER,
    an_id,
    capture,
    commit,
    deposit,
    eur,
    open_account,
    refund,
    reserve,
    void,
)

SOON = NOW + timedelta(minutes=5)


def revenue_minor(book: MemoryBook) -> int:
    return book.state.accounts[system_account_code(AccountType.REVENUE, "EUR")].posted_minor


def kinds(book: MemoryBook) -> list[str]:
    return [record.kind.value for record in book.records]


def facts(book: MemoryBook, wallet: object = BUYER) -> list[object]:
    return [event.fact for event in book.events if event.wallet_id == wallet]


def test_a_deposit_opens_what_is_missing_each_with_a_record_of_its_own() -> None:
    book = MemoryBook(deposit(amount=100))

    assert kinds(book) == ["account_opened", "account_opened", "deposit"]
    assert book.account().posted_minor == 100
    assert facts(book) == [AccountOpened(), FundsDeposited(eur(100))]
    assert [event.sequence for event in book.events] == [1, 2]


def test_opening_an_open_account_is_success_without_a_record() -> None:
    book = MemoryBook(open_account())

    receipt = book.accept(open_account())

    assert (receipt.journal_sequence, receipt.replayed) == (0, False)
    assert kinds(book) == ["account_opened"]


def test_a_wallet_has_one_event_sequence_over_all_its_currencies() -> None:
    book = MemoryBook(deposit(amount=100), deposit(amount=Money(100, "JPY")))

    assert [event.sequence for event in book.events] == [1, 2, 3, 4]
    assert [event.account.currency for event in book.events] == ["EUR", "EUR", "JPY", "JPY"]


def test_a_reserve_sets_money_aside_and_posts_nothing() -> None:
    book = MemoryBook(deposit(amount=1_000))

    receipt = book.accept(reserve(amount=600, expires_at=SOON))

    assert (book.account().posted_minor, book.account().available_minor) == (1_000, 400)
    assert receipt.hold == book.hold()
    assert (book.hold().state, book.hold().expires_at) == (HoldState.OPEN, SOON)
    assert book.hold().last_sequence == receipt.journal_sequence
    assert book.records[-1].postings == ()
    assert facts(book)[-1] == FundsReserved(book.hold())


def test_a_reserve_that_commits_makes_a_hold_that_never_expires() -> None:
    book = MemoryBook(deposit(), reserve(expires_at=NOW - timedelta(days=1), commit=True))

    assert (book.hold().state, book.hold().expires_at) == (HoldState.COMMITTED, None)


def test_committing_twice_is_success_and_one_record() -> None:
    book = MemoryBook(deposit(), reserve(expires_at=SOON), commit())

    receipt = book.accept(commit())

    assert (receipt.journal_sequence, receipt.hold) == (0, book.hold())
    assert kinds(book).count("commit") == 1
    assert facts(book)[-1] == HoldCommitted(book.hold())


def test_a_capture_pays_sellers_their_net_and_the_platform_its_fees() -> None:
    book = MemoryBook(deposit(amount=5_000), reserve(amount=3_001))

    book.accept(capture(parts={SELLER: 1_999, OTHER_SELLER: 1_002}, fee=250))

    assert book.account(SELLER).posted_minor == 1_999 - 49
    assert book.account(OTHER_SELLER).posted_minor == 1_002 - 25
    assert revenue_minor(book) == 74
    assert (book.account().posted_minor, book.account().pending_outgoing_minor) == (1_999, 0)
    assert sum(posting.amount_minor for posting in book.records[-1].postings) == 0
    assert facts(book)[-1] == FundsCaptured(book.hold(), eur(3_001), 1)
    assert facts(book, SELLER)[-1] == SaleCredited(an_id("order"), 1, eur(1_999), eur(49))


def test_captures_in_parts_take_the_same_fee_as_the_whole() -> None:
    book = MemoryBook(deposit(), reserve(amount=999))

    for number in range(1, 10):
        book.accept(capture(parts=111, number=number, fee=333))

    assert revenue_minor(book) == 999 * 333 // 10_000
    assert book.hold().state is HoldState.CAPTURED


def test_captures_at_another_rate_round_for_themselves() -> None:
    book = MemoryBook(deposit(), reserve(amount=1_000), capture(parts=999, fee=0, number=1))

    book.accept(capture(parts=1, fee=5_000, number=2))

    assert revenue_minor(book) == 0


def test_a_whole_fee_leaves_the_seller_nothing_and_posts_no_zero() -> None:
    book = MemoryBook(deposit(), reserve(), capture(fee=10_000))

    assert book.account(SELLER).posted_minor == 0
    assert len(book.records[-1].postings) == 2
    assert facts(book, SELLER)[-1] == SaleCredited(an_id("order"), 1, eur(1_000), eur(1_000))


def test_a_final_capture_releases_the_rest() -> None:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1_000), capture(parts=400, final=True))

    assert (book.hold().captured_minor, book.hold().voided_minor) == (400, 600)
    assert book.account().available_minor == 600


def test_a_buyer_may_buy_of_themselves() -> None:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1_000), capture(parts={BUYER: 1_000}, fee=250))

    assert (book.account().posted_minor, book.account().pending_outgoing_minor) == (975, 0)
    assert [posting.balance_after_minor for posting in book.records[-1].postings] == [0, 975, 25]


def test_funds_are_never_checked_again_at_capture() -> None:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1_000))

    assert book.refuse(reserve(hold="second", amount=1)).reason == "insufficient_funds"
    book.accept(capture(parts=1_000))


def test_a_capture_that_comes_too_late_expires_the_hold_and_is_refused() -> None:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1_000, expires_at=SOON))
    book.pass_time(SOON)
    late = capture(parts=1_000)

    assert book.refuse(late).reason == "hold_expired"
    assert book.hold().state is HoldState.EXPIRED
    assert book.account().available_minor == 1_000
    assert kinds(book)[-1] == "expire"
    assert facts(book)[-1] == HoldExpired(book.hold())
    assert book.refuse(late).reason == "hold_expired", "the first answer again, though the hold is closed now"
    assert kinds(book).count("expire") == 1


def test_a_refused_capture_is_told_once_when_its_command_says_so() -> None:
    book = MemoryBook(deposit(), reserve(), void())
    settlement = capture(report_refusal=True)

    first, again = book.refuse(settlement), book.refuse(settlement)

    assert (first.reason, type(first)) == (again.reason, type(again)) == ("hold_closed", type(first))
    told = [event for event in book.events if isinstance(event.fact, SettlementRefused)]
    assert [event.fact for event in told] == [SettlementRefused(an_id("order"), 1, "hold_closed", first.message)]
    assert (told[0].wallet_id, told[0].journal_sequence, told[0].account.posted_minor) == (BUYER, 0, 10_000)
    assert (told[0].sequence, told[0].previous_position) == (5, 4)


def test_a_refusal_that_was_told_is_final_whatever_its_reason() -> None:
    book = MemoryBook()
    settlement = capture(report_refusal=True)

    assert book.refuse(settlement).reason == "hold_not_found"
    book.accept(deposit())
    book.accept(reserve())

    assert book.refuse(settlement).reason == "hold_not_found"
    assert len([event for event in book.events if isinstance(event.fact, SettlementRefused)]) == 1
    assert facts(book)[0] == SettlementRefused(an_id("order"), 1, "hold_not_found", "There is no such hold.")


def test_an_overdue_capture_tells_of_the_expiry_and_then_of_the_refusal() -> None:
    book = MemoryBook(deposit(), reserve(expires_at=SOON))
    book.pass_time(SOON)

    book.refuse(capture(report_refusal=True))

    assert [type(fact) for fact in facts(book)[-2:]] == [HoldExpired, SettlementRefused]
    assert book.events[-1].account.available_minor == 10_000


def test_a_void_releases_what_remains() -> None:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1_000), capture(parts=400))

    book.accept(void())

    assert (book.hold().state, book.hold().voided_minor) == (HoldState.CAPTURED, 600)
    assert book.account().available_minor == 600
    assert facts(book)[-1] == HoldVoided(book.hold())


def test_a_void_of_an_unknown_hold_leaves_a_tombstone_and_tells_no_wallet() -> None:
    book = MemoryBook(deposit())
    events = len(book.events)

    receipt = book.accept(void())

    assert book.hold().state is HoldState.TOMBSTONE
    assert (receipt.hold, kinds(book)[-1]) == (book.hold(), "void")
    assert len(book.events) == events
    assert book.refuse(reserve()).reason == "hold_voided"
    assert book.accept(void()).journal_sequence == 0


def test_voiding_what_was_voided_or_expired_is_success() -> None:
    book = MemoryBook(deposit(), reserve(), void(), reserve(hold="second", expires_at=SOON))
    book.pass_time(SOON)
    book.accept(ExpireHold(hold_id=an_id("second")))

    assert book.accept(void()).journal_sequence == 0
    assert book.accept(void(hold="second")).journal_sequence == 0


def test_a_hold_expires_once_its_time_has_come() -> None:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1_000, expires_at=SOON))
    book.pass_time(SOON)

    book.accept(ExpireHold(hold_id=an_id("order")))

    assert (book.hold().state, book.account().available_minor) == (HoldState.EXPIRED, 1_000)
    assert book.accept(ExpireHold(hold_id=an_id("order"))).journal_sequence == 0
    assert kinds(book).count("expire") == 1


def test_a_refund_gives_the_buyer_gross_and_takes_net_and_fee_back() -> None:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1_000), capture(parts=1_000, fee=250))

    book.accept(refund(parts=400))

    assert book.account().posted_minor == 400
    assert book.account(SELLER).posted_minor == 975 - 390
    assert revenue_minor(book) == 15
    assert (book.hold().state, book.hold().refunded_minor) == (HoldState.CAPTURED, 400)
    assert facts(book)[-1] == RefundCredited(book.hold(), eur(400), 1)
    assert facts(book, SELLER)[-1] == RefundDebited(an_id("order"), 1, eur(400), eur(10), eur(0))


def test_refunds_in_parts_end_as_if_nothing_had_been_sold() -> None:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1_000), capture(parts={SELLER: 701, OTHER_SELLER: 299}))

    for part in (1, 300, 400):
        book.accept(refund(parts=part))
    book.accept(refund(parts={OTHER_SELLER: 299}))

    assert book.account().posted_minor == 1_000
    assert (book.account(SELLER).posted_minor, book.account(OTHER_SELLER).posted_minor, revenue_minor(book)) == (
        0,
        0,
        0,
    )
    assert book.refuse(refund(parts=1)).reason == "exceeds_capture"


def test_a_part_of_an_open_hold_can_be_refunded_before_the_rest_is_captured() -> None:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1_000), capture(parts=400), refund(parts=400))

    book.accept(capture(parts=600, number=2))

    assert (book.hold().captured_minor, book.hold().refunded_minor) == (1_000, 400)


def test_a_batch_sees_what_its_earlier_commands_did() -> None:
    book = MemoryBook()

    answers = book.run(
        deposit(amount=1_000),
        reserve(amount=700),
        reserve(hold="second", amount=700),
        capture(parts=700),
        refund(parts=700),
        reserve(hold="third", amount=1_000),
    )

    assert [getattr(answer, "reason", "done") for answer in answers] == [
        *("done", "done", "insufficient_funds", "done", "done", "done")
    ]


def test_time_never_goes_back_and_no_two_records_share_an_instant() -> None:
    book = MemoryBook(deposit())
    book.pass_time(NOW - timedelta(days=1))

    book.run(deposit(), deposit(wallet=STRANGER))

    instants = [record.recorded_at for record in book.records]
    assert instants == sorted(set(instants))
    assert instants[0] == NOW
    assert instants[-1] < NOW + timedelta(milliseconds=1)


def test_a_clock_that_was_ahead_ends_no_hold_and_refuses_none_once_it_is_right() -> None:
    book = MemoryBook(deposit(), reserve("before", 10, expires_at=SOON))
    book.pass_time(NOW + timedelta(days=365))
    book.accept(deposit(wallet=STRANGER))
    book.pass_time(NOW)

    book.accept(reserve("after", 10, expires_at=SOON))
    book.accept(commit("before"))
    book.accept(capture("after", 5))
    assert book.refuse(capture("after", 6, number=2)).reason == "exceeds_hold"

    instants = [record.recorded_at for record in book.records]
    assert instants == sorted(set(instants))
    book.pass_time(SOON)
    assert book.refuse(capture("after", 5, number=2)).reason == "hold_expired"
