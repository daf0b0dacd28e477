"""Plan: decide a batch on what the cache says, seal its records into the chain, and make the rows that say so.

No statement runs here: a plan is made while the batch before it is still at the server, and sent after that one
committed, if the book then stands where the plan assumed.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from services.ledger.commands.command import Command
from services.ledger.commands.decision import Decision, decide
from services.ledger.commands.shape import KeyedCommand
from services.ledger.commands.state import KeyScope
from services.ledger.committer.cache import BookCache
from services.ledger.domain.journal import Head
from services.ledger.domain.proof import SealedRecord, Sealer
from services.ledger.outbound.book_writing import write_decision
from services.runtime.database.port import Connection, Database, PreparedWrite
from services.runtime.turns import pieces_in_turns

PIECE_COMMANDS = 128
"""How many commands are decided, records sealed or rows written down before the event loop turns: 2 to 3 ms. A batch
at the server waits for the loop to send the rest of its packet, and calls wait to be read. Fewer are done at once:
a turn of the loop takes as long as planning a command."""


class KeptWrites:
    """Writes that wait for their transaction, ready to be sent."""

    def __init__(self, database: Database) -> None:
        """Keep none yet."""
        self._database = database
        self._prepared: list[PreparedWrite] = []

    async def write_at_commit(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Prepare one; many rows take milliseconds, and then the event loop turns."""
        rows = rows if isinstance(rows, list | tuple) else list(rows)
        if rows:
            self._prepared.append(self._database.prepare(sql, rows))
        if len(rows) > PIECE_COMMANDS:
            await asyncio.sleep(0)

    async def write_to(self, connection: Connection) -> None:
        """Hand them over."""
        for write in self._prepared:
            await connection.write_prepared(write)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A decided batch: where the book must stand for it, and where it stands after it.

    `keys_asked` are keys that the cache didn't know. They must not be found among the answers without a record, nor,
    if `keys_unproven`, among the records: what makes a record is refused a second one by the index on its key. Nor must
    the `holds_unproven` be found: those that were assumed new and aren't made. A plan is `guarded` if its own writes
    fail where it was wrong about the book, a key or a hold; then nothing must be asked first.
    """

    commands: Sequence[Command]
    assumed: Head
    after: Head
    decision: Decision
    writes: KeptWrites = field(repr=False)
    keys_asked: Sequence[KeyScope]
    keys_unproven: Sequence[KeyScope]
    holds_unproven: Sequence[UUID]
    guarded: bool

    @property
    def writes_something(self) -> bool:
        """Tell whether there is anything to commit."""
        return not self.decision.changes_nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Plans batch after batch on one cache, which runs ahead of the database by the plans that aren't committed."""

    database: Database
    cache: BookCache
    random_bytes: Callable[[int], bytes]

    async def plan(
        self, commands: Sequence[Command], clock_now: datetime, holds_assumed_new: Collection[UUID] | None = None
    ) -> Plan:
        """Decide commands whose rows are all in the cache. Anything raised leaves the cache in doubt.

        Args:
            commands: What to decide.
            clock_now: What the clock says.
            holds_assumed_new: What is assumed because the book's lock isn't held, beside that keys are new which the
                cache doesn't know; None where it is held, and all was read.
        """
        state, assumed = self.cache.state, self.cache.require_head()
        scopes = {
            (command.service, command.idempotency_key): None
            for command in commands
            if isinstance(command, KeyedCommand)
        }
        keys_asked = [scope for scope in scopes if scope not in state.keys]
        decision = decide(state, (), clock_now)
        async for piece in pieces_in_turns(commands, of_turn=PIECE_COMMANDS):
            decision = decide(state, piece, clock_now, decision)
        recorded = {(key.service, key.idempotency_key) for key in decision.keys if key.sequence}
        keys_unproven = [scope for scope in keys_asked if scope not in recorded]
        holds_unproven = [hold_id for hold_id in holds_assumed_new or () if hold_id not in decision.holds]
        proven = not keys_unproven and not holds_unproven
        guarded = holds_assumed_new is not None and proven and not decision.changes_nothing
        writes, after = await self._seal(assumed, decision, keys_asked if guarded else ())
        self.cache.head = after
        return Plan(
            commands=commands,
            assumed=assumed,
            after=after,
            decision=decision,
            writes=writes,
            keys_asked=keys_asked,
            keys_unproven=keys_unproven,
            holds_unproven=holds_unproven,
            guarded=guarded,
        )

    async def _seal(self, assumed: Head, decision: Decision, unanswered: Sequence[KeyScope]) -> tuple[KeptWrites, Head]:
        writes = KeptWrites(self.database)
        if decision.changes_nothing:
            return writes, assumed
        sealer = Sealer(
            book_id=assumed.book_id,
            last_hash=assumed.last_hash,
            tails=self.cache.tails,
            random_bytes=self.random_bytes,
        )
        sealed: list[SealedRecord] = []
        async for piece in pieces_in_turns(decision.records, of_turn=PIECE_COMMANDS):
            sealed += sealer.seal(piece)
        after = Head(
            book_id=assumed.book_id,
            revision=assumed.revision + 1,
            last_sequence=decision.last_sequence,
            last_hash=sealer.last_hash,
            last_recorded_at=decision.last_recorded_at,
            last_account_id=decision.last_account_id,
            last_event_sequence=decision.last_event_sequence,
        )
        await write_decision(writes, assumed, decision, sealed, sealer, unanswered)
        return writes, after
