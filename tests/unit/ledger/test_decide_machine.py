"""Random lives of a small book: the rules, one command at a time, against a model that shares nothing with them."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby, pairwise

import pytest
from hypothesis import settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from services.ledger.commands.command import Command
from services.ledger.domain.account import Account
from services.ledger.domain.hold import Hold
from services.ledger.domain.receipt import Receipt
from services.runtime.errors import TradeFlowError
from tests.support.ledger_book import MemoryBook
from tests.support.ledger_machine import LedgerMachine


class BookMachine(LedgerMachine):
    """Runs each command on a book in memory, and looks at all of it after each."""

    def __init__(self) -> None:
        super().__init__()
        self.book = MemoryBook()

    def run(self, commands: Sequence[Command]) -> list[Receipt | TradeFlowError]:
        return list(self.book.run(*commands))

    def pass_time(self, until: datetime) -> None:
        self.book.pass_time(until)

    def accounts(self) -> list[Account]:
        return list(self.book.state.accounts.values())

    def holds(self) -> list[Hold]:
        return list(self.book.state.holds.values())

    @invariant()
    def money_is_conserved(self) -> None:
        """Invariants 1, 2 and 3."""
        accounts = self.book.state.accounts.values()
        sums: Counter[str] = Counter()
        for account in accounts:
            sums[account.currency] += account.balance_minor
        assert not any(sums.values())
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
        currencies = {account.account_id: account.currency for account in self.book.state.accounts.values()}
        balances: Counter[int] = Counter()
        sequences: Counter[int] = Counter()
        for number, record in enumerate(self.book.records, start=1):
            assert record.sequence == number
            assert record.effective_at <= record.recorded_at
            sums: Counter[str] = Counter()
            for posting in record.postings:
                sums[currencies[posting.account_id]] += posting.amount_minor
                balances[posting.account_id] += posting.amount_minor
                sequences[posting.account_id] += 1
                assert posting.amount_minor
                assert posting.account_sequence == sequences[posting.account_id]
                assert posting.balance_after_minor == balances[posting.account_id]
            assert not any(sums.values())
        instants = [record.recorded_at for record in self.book.records]
        assert all(one < next_one for one, next_one in pairwise(instants))
        for account in self.book.state.accounts.values():
            assert (account.balance_minor, account.account_sequence) == (
                *(balances[account.account_id], sequences[account.account_id]),
            )

    @invariant()
    def a_record_is_undone_once_and_by_a_later_one(self) -> None:
        undone = {record.reverses: record.sequence for record in self.book.records if record.reverses}
        assert len(undone) == sum(1 for record in self.book.records if record.reverses)
        assert all(earlier < later for earlier, later in undone.items())

    @invariant()
    def no_wallet_misses_an_event(self) -> None:
        """Invariant 8: numbers have no gap, each event leads to the one before it; without an account there is none."""
        seen: dict[object, list[int]] = defaultdict(list)
        newest: dict[object, int] = {}
        for position, event in enumerate(self.book.events, start=1):
            if not event.sequence:
                assert event.account.account_id == event.previous_position == 0
                continue
            seen[event.wallet_id].append(event.sequence)
            assert event.previous_position == newest.get(event.wallet_id, 0)
            newest[event.wallet_id] = position
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
TestBook.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)


@pytest.mark.ci
@pytest.mark.timeout(300)
def test_many_long_lives_of_books_end_as_the_model_says() -> None:
    lives = settings(max_examples=150, stateful_step_count=50, deadline=None, database=None)

    run_state_machine_as_test(BookMachine, settings=lives)
