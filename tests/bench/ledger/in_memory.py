"""What a transfer costs before any database: decide, seal, make rows. `python -m tests.bench.ledger.in_memory`.

Microseconds of this process's CPU for each command of a batch, the best of some batches: what else the machine does
disturbs even these.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from random import Random
from time import process_time
from uuid import UUID

from rich.console import Console

from services.ledger.commands.command import Command
from services.ledger.commands.decision import decide
from services.ledger.commands.deposit import Deposit
from services.ledger.commands.transfer import Transfer, TransferLeg, WalletRef
from services.ledger.domain.journal import GENESIS_HASH, Head
from services.ledger.domain.proof import Sealer
from services.ledger.outbound.book_reading import book_at
from services.ledger.outbound.book_writing import write_decision
from services.money import Money

BATCHES = 16
BATCH_COMMANDS = 1_024
WALLETS = 2_000
START = datetime(2026, 1, 1, tzinfo=UTC)


class MadeRows:
    """Takes rows, counts them by statement and lets them go."""

    def __init__(self) -> None:
        """Begin with none."""
        self.rows: Counter[str] = Counter()

    async def write_at_commit(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Have them made."""
        self.rows[sql] += len(list(rows))


class Book:
    """A book in memory, and what its batches cost: seconds by step."""

    def __init__(self) -> None:
        """Begin empty."""
        self.head = Head(1, 0, 0, GENESIS_HASH, START, 0, 0)
        self.loaded = book_at(self.head)
        self.seconds: dict[str, float] = {}

    def run(self, commands: Sequence[Command]) -> None:
        """Decide, seal and make the rows of one batch."""
        with self._timed("decide"):
            decision = decide(self.loaded.state, commands, START)
        sealer = Sealer(book_id=1, last_hash=self.head.last_hash, tails=self.loaded.tails, random_bytes=os.urandom)
        with self._timed("seal"):
            sealed = sealer.seal(decision.records)
        with self._timed("rows"):
            asyncio.run(write_decision(MadeRows(), self.head, decision, sealed, sealer))
        self.head = Head(
            *(1, self.head.revision + 1, decision.last_sequence, sealer.last_hash, decision.last_recorded_at),
            *(decision.last_account_id, decision.last_event_sequence),
        )

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        began_at = process_time()
        yield
        self.seconds[step] = process_time() - began_at


def main() -> None:
    """Measure, and print a line for each kind of command."""
    random, keys = Random(1), count()  # noqa: S311 - the same load each time
    wallets = [UUID(int=random.getrandbits(128), version=4) for _ in range(WALLETS)]

    def deposit(wallet_id: UUID | None = None) -> Command:
        wallet_id = wallet_id or random.choice(wallets)
        key = f"deposit-{next(keys)}"
        return Deposit(service="bench", idempotency_key=key, wallet_id=wallet_id, amount=Money(1_000_000, "EUR"))

    def transfer() -> Command:
        payer, receiver = random.sample(wallets, 2)
        legs = TransferLeg(WalletRef(payer), Money(-1, "EUR")), TransferLeg(WalletRef(receiver), Money(1, "EUR"))
        return Transfer(service="bench", idempotency_key=f"transfer-{next(keys)}", legs=legs)

    book = Book()
    book.loaded.state.wallets = dict.fromkeys(wallets, "")
    book.run([deposit(wallet_id) for wallet_id in wallets])
    for name, make in (("deposit", deposit), ("transfer", transfer)):
        Console().print(f"{name}: {_measured(book, make)}", highlight=False)


def _measured(book: Book, make: Callable[[], Command]) -> str:
    costs = []
    for _ in range(BATCHES):
        book.run([make() for _ in range(BATCH_COMMANDS)])
        costs.append({step: seconds / BATCH_COMMANDS * 1e6 for step, seconds in book.seconds.items()})
    best = min(costs, key=lambda cost: sum(cost.values()))
    steps = ", ".join(f"{step} {micros:.1f}" for step, micros in best.items())
    return f"{sum(best.values()):.1f} µs of CPU each ({steps})"


if __name__ == "__main__":
    main()
