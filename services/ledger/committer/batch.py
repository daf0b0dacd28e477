"""One batch, once: lock → read → decide → write → commit, in one transaction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.ledger.commands.command import Command
from services.ledger.commands.decision import Answer, Decision, decide
from services.ledger.domain.proof import Sealer
from services.ledger.outbound.book_head import lock_head
from services.ledger.outbound.book_reading import read_book
from services.ledger.outbound.book_writing import write_decision
from services.runtime.clock import Clock
from services.runtime.database.port import Connection, Database


@dataclass(frozen=True, slots=True, kw_only=True)
class BookWriter:
    """Writes one book of one database."""

    database: Database
    book_id: int
    clock: Clock
    random_bytes: Callable[[int], bytes]

    async def commit(self, attempt: "Attempt") -> list[Answer]:
        """Decide and write the commands; when this returns, their effects are durable.

        Raises:
            UnavailableError: Nothing happened, or the COMMIT's end is unknown: again is safe.
            Exception: The data of some command can't be written; nothing happened.
        """
        async with self.database.transaction() as connection:
            decision = await self._decide(connection, attempt)
        return decision.answers

    async def _decide(self, connection: Connection, attempt: "Attempt") -> Decision:
        # The lock comes first: what is read before it may be older than what the lock waited for.
        head = await lock_head(connection, self.book_id)
        loaded = await read_book(connection, head, attempt.commands)
        decision = decide(loaded.state, attempt.commands, self.clock.now())
        attempt.decision = decision
        if not decision.changes_nothing:
            sealer = Sealer(
                book_id=self.book_id, last_hash=head.last_hash, tails=loaded.tails, random_bytes=self.random_bytes
            )
            await write_decision(connection, head, decision, sealer.seal(decision.records), sealer)
        return decision


@dataclass(slots=True)
class Attempt:
    """One try of some commands. The decision stays here also when its COMMIT ended unknown."""

    commands: Sequence[Command]
    decision: Decision | None = field(default=None)

    @property
    def wrote(self) -> bool:
        """Tell whether there was anything to commit."""
        return self.decision is not None and not self.decision.changes_nothing
