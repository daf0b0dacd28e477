"""Settle a batch whatever happens: repeat what may succeed later, and part the one bad command from the good ones.

All of it goes under the book's lock, with all keys read: this is also the way of batches that couldn't be planned
ahead, and of those whose flight ended in any other way than well.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from msgspec.structs import replace

from services.ledger.commands.command import Command
from services.ledger.commands.shape import KeyedCommand
from services.ledger.commands.state import KeyScope
from services.ledger.committer.flight import Attempt, BookWriter
from services.ledger.committer.plan import Plan
from services.ledger.committer.waiting_room import Reply
from services.ledger.domain.receipt import Receipt
from services.runtime.backoff import jittered_seconds
from services.runtime.errors import RejectedError, UnavailableError

logger = structlog.get_logger(__name__)

ATTEMPTS_MAX = 6
"""How often a batch is tried before its callers are told to come back: with the waits below, 2 to 3 seconds."""

RETRY_SECONDS_FIRST = 0.05
"""The longest wait before the first repetition: a deadlock's winner is through by then."""

RETRY_SECONDS_LONGEST = 1.0
"""The longest wait between two tries: callers' deadlines are a few seconds."""


class Settlement:
    """Brings one batch to an end: every command gets a reply. `wrote` tells whether anything was committed.

    `found_keys` tells whether a key was found that the cache didn't know.
    """

    def __init__(self, writer: BookWriter, *, on_retry: Callable[[], None], trust_cache: bool) -> None:
        """Settle by one writer; `on_retry` is called before each repetition."""
        self._writer = writer
        self._on_retry = on_retry
        self._trust_cache = trust_cache
        self.wrote = False
        self.found_keys = False
        self._drafted: dict[KeyScope, tuple[int, datetime]] = {}

    async def settle(self, commands: Sequence[Command]) -> list[Reply]:
        """Commit the commands, halving the batch around one that can't be written."""
        try:
            return await self._repeat(commands)
        except UnavailableError as error:
            logger.warning("ledger_batch_given_up", commands=len(commands), reason=error.reason)
            return [_copy(error) for _ in commands]
        except Exception as error:  # whatever one command's data did, its neighbours must not suffer
            if len(commands) == 1:
                logger.exception("ledger_command_failed", command=type(commands[0]).__name__)
                return [error]
            middle = len(commands) // 2
            return [*await self.settle(commands[:middle]), *await self.settle(commands[middle:])]

    def note_drafts(self, plan: Plan) -> None:
        """Remember what was sent: if its COMMIT ended unknown and did succeed, the next try finds these keys."""
        for key in plan.decision.keys:
            self._drafted[key.service, key.idempotency_key] = (key.sequence, key.recorded_at)

    async def _repeat(self, commands: Sequence[Command]) -> list[Reply]:
        for attempts in range(1, ATTEMPTS_MAX + 1):
            try:
                return await self._attempt(commands)
            except UnavailableError:
                if attempts == ATTEMPTS_MAX:
                    raise
            self._on_retry()
            await self._writer.clock.sleep(
                jittered_seconds(attempts - 1, first_seconds=RETRY_SECONDS_FIRST, longest_seconds=RETRY_SECONDS_LONGEST)
            )
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, commands: Sequence[Command]) -> list[Reply]:
        attempt = Attempt(commands)
        try:
            answers = await self._writer.commit(attempt, trust_cache=self._trust_cache)
        except BaseException:
            if attempt.plan is not None:
                self.note_drafts(attempt.plan)
            raise
        self.found_keys = self.found_keys or attempt.found_keys
        self.wrote = self.wrote or (attempt.plan is not None and attempt.plan.writes_something)
        return [self._own(command, answer) for command, answer in zip(commands, answers, strict=True)]

    def _own(self, command: Command, answer: Reply) -> Reply:
        """Tell a replay of somebody's earlier call from our own effect that a lost answer hid."""
        if not (self._drafted and isinstance(command, KeyedCommand) and isinstance(answer, Receipt | RejectedError)):
            return answer
        key = (command.service, command.idempotency_key)
        if not answer.replayed or not self._was_drafted(key, answer):
            return answer
        self.wrote = True
        # Once: a second command of this key in the batch is a replay indeed.
        del self._drafted[key]
        if isinstance(answer, Receipt):
            return replace(answer, replayed=False)
        answer.replayed = False
        return answer

    def _was_drafted(self, key: KeyScope, answer: Receipt | RejectedError) -> bool:
        if isinstance(answer, RejectedError):
            return key in self._drafted  # a key that had an answer before isn't drafted again
        return self._drafted.get(key) == (answer.journal_sequence, answer.recorded_at)


def _copy(error: UnavailableError) -> UnavailableError:
    """Make an error of each caller's own: a raised error carries the traceback of whoever raised it."""
    return UnavailableError(
        error.message, retry_after_seconds=error.retry_after_seconds, reason=error.reason, details=error.details
    )
