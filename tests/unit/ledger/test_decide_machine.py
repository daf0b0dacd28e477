"""Random lives of a small book: the rules against a model that shares nothing with them."""

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby, pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.ledger.commands.command import Command
from services.ledger.commands.decision import Answer
from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.commands.outcome import MICROSECOND
from services.ledger.domain.account import AccountType
from services.ledger.domain.receipt import Receipt
from services.runtime.errors import KeyReusedError, RefusedError
from tests.support.ledger_book import MemoryBook
from tests.support.ledger_commands import an_id, capture, commit, deposit, refund, reserve, void
from tests.support.ledger_model import OK, Model

PEOPLE = ("ann", "bob", "cid")
HOLDS = ("one", "two", "three")
people = st.sampled_from(PEOPLE)
holds = st.sampled_from(HOLDS)
amounts = st.integers(1, 60)
numbers = st.integers(1, 3)
parts = st.dictionaries(people, amounts, min_size=1, max_size=3)
rates = st.sampled_from((0, 250, 3_333, 10_000))


class BookMachine(RuleBasedStateMachine):
    """Runs each command on the book and on the model."""

    def __init__(self) -> None:
        super().__init__()
        self.book = MemoryBook()
        self.model = Model()
        self.history: list[tuple[datetime, Command, Answer]] = []

    @property
    def now(self) -> datetime:
        """Tell the ledger's time for the next command."""
        return max(self.book.now, self.book.state.last_recorded_at + MICROSECOND)

    def owner(self, hold: str, stranger: str | None) -> str:
        """Choose the wallet that a command names: mostly the right one."""
        known = self.model.holds.get(hold)
        return stranger or (known.owner if known is not None else "ann")

    def expect(self, command: Command, expected: str) -> None:
        """Run a command; its answer must be the model's."""
        (answer,) = self.book.run(command)
        self.history.append((self.book.now, command, answer))
        assert (OK if isinstance(answer, Receipt) else answer.reason) == expected

    @initialize(amount=st.integers(50, 200))
    def begin(self, amount: int) -> None:
        self.expect(deposit(an_id("ann"), amount), self.model.deposit("ann", amount))

    @rule(wallet=people, amount=amounts)
    def deposit(self, wallet: str, amount: int) -> None:
        self.expect(deposit(an_id(wallet), amount), self.model.deposit(wallet, amount))

    @rule(hold=holds, wallet=people, amount=amounts, minutes=st.one_of(st.none(), st.integers(0, 10)))
    def reserve(self, hold: str, wallet: str, amount: int, minutes: int | None) -> None:
        expires_at = None if minutes is None else self.book.now + timedelta(minutes=minutes)
        expected = self.model.reserve(hold, wallet, amount, self.now, expires_at)
        fields = {"commit": True} if expires_at is None else {"expires_at": expires_at}
        self.expect(reserve(hold, amount, an_id(wallet), **fields), expected)

    @rule(hold=holds, stranger=st.one_of(st.none(), st.none(), people))
    def commit(self, hold: str, stranger: str | None) -> None:
        wallet = self.owner(hold, stranger)
        self.expect(commit(hold, an_id(wallet)), self.model.commit(hold, wallet, self.now))

    @rule(
        hold=holds,
        stranger=st.one_of(st.none(), st.none(), st.none(), people),
        number=numbers,
        parts=parts,
        rate=rates,
        final=st.booleans(),
        report=st.booleans(),
    )
    def capture(
        self,
        hold: str,
        stranger: str | None,
        number: int,
        parts: dict[str, int],
        rate: int,
        *,
        final: bool,
        report: bool,
    ) -> None:
        wallet = self.owner(hold, stranger)
        expected = self.model.capture(hold, wallet, number, parts, rate, self.now, final=final)
        sellers = {an_id(seller): gross for seller, gross in parts.items()}
        command = capture(hold, sellers, an_id(wallet), fee=rate, number=number, final=final, report_refusal=report)
        self.expect(command, expected)

    @rule(hold=holds, stranger=st.one_of(st.none(), st.none(), people))
    def void(self, hold: str, stranger: str | None) -> None:
        wallet = self.owner(hold, stranger)
        self.expect(void(hold, an_id(wallet)), self.model.void(hold, wallet))

    @rule(hold=holds)
    def expire(self, hold: str) -> None:
        self.expect(ExpireHold(hold_id=an_id(hold)), self.model.expire(hold, self.now))

    @rule(hold=holds, stranger=st.one_of(st.none(), st.none(), st.none(), people), number=numbers, parts=parts)
    def refund(self, hold: str, stranger: str | None, number: int, parts: dict[str, int]) -> None:
        wallet = self.owner(hold, stranger)
        sellers = {an_id(seller): gross for seller, gross in parts.items()}
        expected = self.model.refund(hold, wallet, number, parts)
        self.expect(refund(hold, sellers, an_id(wallet), number=number), expected)

    @rule(minutes=st.integers(-3, 6))
    def time_passes(self, minutes: int) -> None:
        self.book.pass_time(self.book.now + timedelta(minutes=minutes))

    @precondition(lambda self: self.history)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Invariant 4: the same key gets the same answer, and other content under it is refused."""
        _, command, first = data.draw(st.sampled_from(self.history))
        if isinstance(command, ExpireHold) or not isinstance(first, Receipt | RefusedError):
            return
        before = len(self.book.records), len(self.book.events)

        again, other = self.book.run(command, deposit(an_id("ann"), 1_000, idempotency_key=command.idempotency_key))

        if isinstance(first, Receipt):
            assert isinstance(again, Receipt)
            assert replace(again, hold=first.hold) == replace(first, replayed=True)
        else:
            assert not isinstance(again, Receipt)
            assert (type(again), again.reason, again.details) == (type(first), first.reason, first.details)
        assert isinstance(other, KeyReusedError)
        assert (len(self.book.records), len(self.book.events)) == before

    @invariant()
    def the_book_is_as_the_model_says(self) -> None:
        accounts = self.book.state.accounts.values()
        posted = {account.wallet_id: account.posted_minor for account in accounts if account.wallet_id}
        assert posted == {an_id(name): self.model.money[name] for name in self.model.open}
        revenue = [account.posted_minor for account in accounts if account.account_type is AccountType.REVENUE]
        assert sum(revenue) == self.model.revenue
        for name, hold in self.model.holds.items():
            real = self.book.state.holds[an_id(name)]
            assert (real.state.value, real.remaining_minor, real.captured_minor, real.refunded_minor) == (
                *(hold.state, hold.left, hold.captured, hold.refunded),
            )

    @invariant()
    def money_is_conserved(self) -> None:
        """Invariants 1, 2 and 3."""
        accounts = self.book.state.accounts.values()
        assert sum(account.balance_minor for account in accounts) == 0
        assert all(account.available_minor >= 0 for account in accounts)
        pending: Counter[int] = Counter()
        for hold in self.book.state.holds.values():
            assert hold.remaining_minor >= 0
            assert hold.is_active == (hold.remaining_minor > 0)
            pending[hold.account_id] += hold.remaining_minor
        assert all(account.pending_outgoing_minor == pending[account.account_id] for account in accounts)

    @invariant()
    def the_journal_tells_all(self) -> None:
        """Invariants 1 and 7: entries sum to zero; the journal has no gap; its postings lead to the balances."""
        balances: Counter[int] = Counter()
        sequences: Counter[int] = Counter()
        for number, record in enumerate(self.book.records, start=1):
            assert record.sequence == number
            assert sum(posting.amount_minor for posting in record.postings) == 0
            for posting in record.postings:
                balances[posting.account_id] += posting.amount_minor
                sequences[posting.account_id] += 1
                assert posting.account_sequence == sequences[posting.account_id]
                assert posting.balance_after_minor == balances[posting.account_id]
        instants = [record.recorded_at for record in self.book.records]
        assert all(one < next_one for one, next_one in pairwise(instants))
        for account in self.book.state.accounts.values():
            assert (account.balance_minor, account.account_sequence) == (
                *(balances[account.account_id], sequences[account.account_id]),
            )

    @invariant()
    def no_wallet_misses_an_event(self) -> None:
        """Invariant 8."""
        seen: dict[object, list[int]] = defaultdict(list)
        for event in self.book.events:
            seen[event.wallet_id].append(event.sequence)
        assert all(sequences == list(range(1, len(sequences) + 1)) for sequences in seen.values())

    def teardown(self) -> None:
        """The same commands in large batches end in the same book."""
        batched = MemoryBook()
        for now, steps in groupby(self.history, key=lambda step: step[0]):
            batched.pass_time(now)
            batched.run(*[command for _, command, _ in steps])
        assert batched.state == self.book.state
        assert batched.records == self.book.records
        assert batched.events == self.book.events


TestBook = BookMachine.TestCase
TestBook.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
