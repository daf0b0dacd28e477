"""Random lives of books that a committer writes to a real database, in batches, judged by the same model."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from services.ledger.commands.command import Command
from services.ledger.domain.account import Account
from services.ledger.domain.hold import Hold
from services.ledger.domain.receipt import Receipt
from services.runtime.errors import TradeFlowError
from tests.support.ledger_books import Books
from tests.support.ledger_commands import NOW, an_id
from tests.support.ledger_machine import LedgerMachine

pytestmark = pytest.mark.ci

DATES = [NOW + timedelta(days=days) for days in (-4, -2, -0.5, 0, 1, 30)]
"""Instants between which the effective dates of the commands lie."""

BEFORE_THE_FIRST_RECORD = DATES[:3]
"""What counts by these has an effective date of its own."""


class CommittedMachine(LedgerMachine):
    """Runs commands by a committer, several of them in a batch."""

    batch_commands_max = 6
    books: ClassVar[Books]

    def __init__(self) -> None:
        super().__init__()
        self.book = self.books.begin_book()

    def run(self, commands: Sequence[Command]) -> list[Receipt | TradeFlowError]:
        return self.book.run(commands)

    def pass_time(self, until: datetime) -> None:
        self.book.clock.instant = until

    def accounts(self) -> list[Account]:
        return self.book.accounts()

    def holds(self) -> list[Hold]:
        return self.book.holds()

    def compare_by_effective_date(self) -> None:
        for place in self.model.open:
            kind, owner, currency = place
            for instant in BEFORE_THE_FIRST_RECORD:
                counted = sum(amount for at, where, amount in self.dated if where == place and at <= instant)
                if kind == "wallet":
                    assert self.book.balance_by(an_id(owner), currency, instant) == counted

    def teardown(self) -> None:
        try:
            self.settle()
            self.book.assert_sound()
            self.book.assert_dated(DATES)
            self.compare_by_effective_date()
        finally:
            self.book.close()


@pytest.mark.timeout(300)
def test_random_lives_of_books_end_as_the_model_says(engine_url: str) -> None:
    with Books(engine_url) as books:
        machine = type("BoundMachine", (CommittedMachine,), {"books": books})
        lives = settings(
            max_examples=15,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        run_state_machine_as_test(machine, settings=lives)
