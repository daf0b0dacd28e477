"""Flight: one batch, one transaction: lock the head, compare, write, commit.

A plan that was made ahead takes one round trip: its first statement locks the head and compares, and the server stops
there if the book moved. A plan that answers keys without making records of them takes two: the lock with the look for
these keys, then all writes with COMMIT. What can't be planned ahead is read and planned under the lock.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.ledger.commands.command import Command
from services.ledger.commands.decision import Answer
from services.ledger.committer.plan import Plan, Planner
from services.ledger.outbound.book_head import head_of_rows, lock_head_query
from services.ledger.outbound.book_reading import accepted_keys_queries, answered_keys_queries, existing_holds_queries
from services.runtime.clock import Clock
from services.runtime.database.port import Connection, Database, ValueMissingError


class PlanMissedError(Exception):
    """The book, or a key, is not what the plan assumed: nothing of it was written."""


@dataclass(slots=True)
class Attempt:
    """One try of some commands under the lock. The plan stays here also when its COMMIT ended unknown."""

    commands: Sequence[Command]
    plan: Plan | None = field(default=None)
    found_keys: bool = field(default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookWriter:
    """Writes one book of one database."""

    database: Database
    book_id: int
    clock: Clock
    planner: Planner

    async def send(self, plan: Plan, on_locked: Callable[[], None]) -> None:
        """Commit a plan that was made ahead; when this returns, it is durable.

        Args:
            plan: What to write.
            on_locked: Called when the server has the book's lock for it: whatever is sent from then on comes after.

        Raises:
            PlanMissedError: The book moved, or a key was used before.
            DuplicateKeyError: An accepted key was used before; nothing happened.
            UnavailableError: Nothing happened, or the COMMIT's end is unknown.
            Exception: The data of some command can't be written; nothing happened.
        """
        try:
            async with self.database.transaction() as connection:
                if plan.guarded:
                    connection.tell_first_write(on_locked)
                else:
                    await self._lock_and_compare(connection, plan)
                    on_locked()
                await plan.writes.write_to(connection)
        except ValueMissingError as error:
            raise PlanMissedError("the book moved, or a key was used before") from error

    async def commit(self, attempt: Attempt, *, trust_cache: bool) -> list[Answer]:
        """Decide and write commands under the lock; when this returns, their effects are durable.

        Args:
            attempt: The commands; gets the plan.
            trust_cache: Whether rows in the cache are used, if the book stands where the cache does.

        Raises:
            UnavailableError: Nothing happened, or the COMMIT's end is unknown: again is safe.
            Exception: The data of some command can't be written; nothing happened.
        """
        cache = self.planner.cache
        try:
            async with self.database.transaction() as connection:
                attempt.found_keys = await cache.lock_and_fill(connection, attempt.commands, trusted=trust_cache)
                attempt.plan = await self.planner.plan(attempt.commands, self.clock.now())
                await attempt.plan.writes.write_to(connection)
        except BaseException:
            cache.drop()
            raise
        return attempt.plan.decision.answers

    async def _lock_and_compare(self, connection: Connection, plan: Plan) -> None:
        # All in one round trip; what follows the lock is read after it was granted.
        rows, *found = await connection.fetch_together(
            [
                lock_head_query(self.book_id),
                *answered_keys_queries(self.book_id, plan.keys_asked),
                *accepted_keys_queries(self.book_id, plan.keys_unproven),
                *existing_holds_queries(self.book_id, plan.holds_unproven),
            ]
        )
        if head_of_rows(self.book_id, rows) != plan.assumed:
            raise PlanMissedError("the book moved")
        if any(found):
            raise PlanMissedError("a key was used before, or a hold exists")
