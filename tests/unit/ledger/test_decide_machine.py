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
people = st.sampled_from(PEOPLE)
ROLLS = st.integers(0, 7)
amounts = st.integers(1, 60)
rates = st.sampled_from((0, 250, 3_333, 10_000))


def has_active_holds(machine: "BookMachine") -> bool:
    """Tell whether captures make sense."""
    return any(hold.left for hold in machine.model.holds.values())


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

    def draw_hold(self, data: st.DataObject, *states: str) -> str:
        """Choose a hold: mostly one in these states, sometimes any, sometimes one that never was."""
        fitting = [name for name, hold in self.model.holds.items() if hold.state in states]
        # Hypothesis prefers small numbers and early choices: the right ones stand first.
        anything = [f"hold-{len(self.model.holds)}", *self.model.holds]
        return str(data.draw(st.sampled_from(fitting if fitting and data.draw(ROLLS) < 7 else anything)))

    def draw_owner(self, data: st.DataObject, hold: str) -> str:
        """Choose the wallet that a command names: mostly the right one."""
        known = self.model.holds.get(hold)
        stranger = data.draw(people)
        return known.owner if known is not None and data.draw(ROLLS) < 7 else stranger

    def expect(self, command: Command, expected: str) -> None:
        """Run a command; its answer must be the model's."""
        (answer,) = self.book.run(command)
        self.history.append((self.book.now, command, answer))
        assert (OK if isinstance(answer, Receipt) else answer.reason) == expected

    @initialize(amount=st.integers(50, 200))
    def begin(self, amount: int) -> None:
        for name in PEOPLE[:2]:
            self.expect(deposit(an_id(name), amount), self.model.deposit(name, amount))
        self.expect(
            reserve("hold-0", amount, an_id("ann")), self.model.reserve("hold-0", "ann", amount, self.now, None)
        )

    @rule(wallet=people, amount=amounts)
    def deposit(self, wallet: str, amount: int) -> None:
        self.expect(deposit(an_id(wallet), amount), self.model.deposit(wallet, amount))

    @rule(data=st.data(), wallet=people, amount=amounts, minutes=st.one_of(st.none(), st.integers(0, 10)))
    def reserve(self, data: st.DataObject, wallet: str, amount: int, minutes: int | None) -> None:
        hold = f"hold-{len(self.model.holds)}" if data.draw(ROLLS) < 7 else self.draw_hold(data)
        expires_at = None if minutes is None else self.book.now + timedelta(minutes=minutes)
        expected = self.model.reserve(hold, wallet, amount, self.now, expires_at)
        command = (
            reserve(hold, amount, an_id(wallet))
            if expires_at is None
            else reserve(hold, amount, an_id(wallet), expires_at=expires_at)
        )
        self.expect(command, expected)

    @precondition(has_active_holds)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        hold = self.draw_hold(data, "open", "committed")
        wallet = self.draw_owner(data, hold)
        self.expect(commit(hold, an_id(wallet)), self.model.commit(hold, wallet, self.now))

    @precondition(has_active_holds)
    @rule(data=st.data(), rate=rates, final=st.booleans(), report=st.booleans())
    def capture(self, data: st.DataObject, rate: int, *, final: bool, report: bool) -> None:
        hold = self.draw_hold(data, "open", "committed")
        wallet = self.draw_owner(data, hold)
        known = self.model.holds.get(hold)
        share = st.integers(1, max(1, (known.left if known is not None else 10) // 2))
        parts = data.draw(st.dictionaries(people, share, min_size=1, max_size=2))
        made = {number for number, _ in known.legs} if known is not None else set()
        number = data.draw(st.sampled_from([*[len(made) + 1] * 8, *made]))
        expected = self.model.capture(hold, wallet, number, parts, rate, self.now, final=final)
        sellers = {an_id(seller): gross for seller, gross in parts.items()}
        command = capture(hold, sellers, an_id(wallet), fee=rate, number=number, final=final, report_refusal=report)
        self.expect(command, expected)

    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        hold = self.draw_hold(data, "open", "committed")
        wallet = self.draw_owner(data, hold)
        self.expect(void(hold, an_id(wallet)), self.model.void(hold, wallet))

    @precondition(has_active_holds)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        hold = self.draw_hold(data, "open")
        self.expect(ExpireHold(hold_id=an_id(hold)), self.model.expire(hold, self.now))

    @precondition(lambda self: any(hold.legs for hold in self.model.holds.values()))
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        hold = data.draw(st.sampled_from([name for name, hold in self.model.holds.items() if hold.legs]))
        wallet = self.draw_owner(data, hold)
        number = data.draw(st.sampled_from([*{number for number, _ in self.model.holds[hold].legs}, 99]))
        legs = {seller: leg for (made, seller), leg in self.model.holds[hold].legs.items() if made == number}
        parts = {
            seller: data.draw(st.integers(1, leg.gross - leg.refunded + 1))
            for seller, leg in legs.items()
            if data.draw(ROLLS) < 5
        } or {data.draw(people): 1}
        sellers = {an_id(seller): gross for seller, gross in parts.items()}
        expected = self.model.refund(hold, wallet, number, parts)
        self.expect(refund(hold, sellers, an_id(wallet), number=number), expected)

    @rule(
        seller=people,
        parts=st.lists(st.integers(1, 99), min_size=2, max_size=4),
        rate=rates,
        back=st.integers(1, 99),
        expires=st.booleans(),
    )
    def sell_in_parts(self, seller: str, parts: list[int], rate: int, back: int, *, expires: bool) -> None:
        """Walk the happy path, which random steps seldom reach the end of."""
        hold = f"hold-{len(self.model.holds)}"
        total = sum(parts) + 1
        self.deposit("bob", total)
        self.expect(
            reserve(hold, total, an_id("bob"), expires_at=self.book.now + timedelta(days=1)),
            self.model.reserve(hold, "bob", total, self.now, self.book.now + timedelta(days=1)),
        )
        for number, part in enumerate(parts, start=1):
            expected = self.model.capture(hold, "bob", number, {seller: part}, rate, self.now, final=False)
            self.expect(capture(hold, {an_id(seller): part}, an_id("bob"), fee=rate, number=number), expected)
        for part in (min(back, parts[0]), parts[0] - min(back, parts[0])):
            if part:
                expected = self.model.refund(hold, "bob", 1, {seller: part})
                self.expect(refund(hold, {an_id(seller): part}, an_id("bob")), expected)
        if expires:
            self.book.pass_time(self.now + timedelta(days=1))
            self.expect(ExpireHold(hold_id=an_id(hold)), self.model.expire(hold, self.now))

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
TestBook.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
