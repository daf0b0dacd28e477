"""Gather: where commands wait for their batch, in order, while the batches before them commit.

A caller's commands stay together as one call with one promise, however many they are: a promise for each command would
cost more than to decide it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from services.ledger.commands.command import Command, legs_of
from services.ledger.domain.receipt import Receipt
from services.runtime.errors import UnavailableError

QUEUE_RETRY_AFTER_SECONDS = 0.5
"""The hint for those who found it full: by then some batches have gone."""

BATCH_LEGS_MAX = 4096
"""The most legs of a batch's commands, twice those of a thousand transfers: a fraction of a second of work. A thousand
captures for a hundred sellers each would take the database longer than a packet may, and everyone else would wait."""

Reply = Receipt | Exception
"""What a caller is told: a receipt, a refusal, or what went wrong with its command alone."""

_NO_REPLY = AssertionError("a command was never answered")
"""Stands where a reply comes; no caller ever sees it."""


class Call:
    """Some commands of one caller and the promise of all their replies, which a caller that went away cancelled."""

    __slots__ = ("_replies", "_unanswered", "commands", "deadline_at_seconds", "promise", "taken")

    def __init__(
        self, commands: Sequence[Command], promise: asyncio.Future[list[Reply]], deadline_at_seconds: float | None
    ) -> None:
        """Wait from the first command on; the deadline is on the event loop's clock."""
        self.commands = commands
        self.promise = promise
        self.deadline_at_seconds = deadline_at_seconds
        self.taken = 0
        self._unanswered = len(commands)
        self._replies: list[Reply] = [_NO_REPLY] * len(commands)

    def answer(self, start: int, replies: Sequence[Reply]) -> None:
        """Take the replies to the commands from `start` on; with the last ones the promise is kept, if one waits."""
        self._replies[start : start + len(replies)] = replies
        self._unanswered -= len(replies)
        if self._unanswered == 0 and not self.promise.done():
            self.promise.set_result(self._replies)


class Batch:
    """Commands that go together, and whose they are: for each call the first of its commands here, and how many."""

    __slots__ = ("_legs", "_shares", "commands")

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._shares: list[tuple[Call, int, int]] = []
        self._legs = 0
        self.commands: list[Command] = []

    def __len__(self) -> int:
        return len(self.commands)

    def take(self, call: Call, commands_max: int) -> int:
        """Take the next commands of a call, as many as there is room for, and tell how many."""
        first = call.taken
        for command in call.commands[first : first + commands_max]:
            legs = legs_of(command)
            if self.commands and self._legs + legs > BATCH_LEGS_MAX:
                break
            self._legs += legs
            self.commands.append(command)
            call.taken += 1
        self._shares.append((call, first, call.taken - first))
        return call.taken - first

    def answer(self, replies: Sequence[Reply]) -> None:
        """Give each call its replies."""
        at = 0
        for call, start, count in self._shares:
            call.answer(start, replies[at : at + count])
            at += count


class WaitingRoom:
    """A bounded queue that gives out batches to one taker."""

    def __init__(self, *, commands_max: int) -> None:
        """Open, for so many commands at once, or for one call of more."""
        self._commands_max = commands_max
        self._calls: deque[Call] = deque()
        self._waiting = 0
        self._changed = asyncio.Event()
        self.closed = False

    def __len__(self) -> int:
        return self._waiting

    def enter(self, commands: Sequence[Command], timeout_seconds: float | None) -> asyncio.Future[list[Reply]]:
        """Let commands in, all or none of them; a caller that cancels the promise takes those back that still wait.

        With none inside there is always room: a call that is larger than the bound would be refused for ever.

        Raises:
            UnavailableError: It is full (`ledger_busy`) or closing (`ledger_stopping`).
        """
        if self.closed:
            raise UnavailableError("The ledger is stopping.", reason="ledger_stopping")
        if self._waiting and self._waiting + len(commands) > self._commands_max:
            raise UnavailableError(
                "The ledger has more to do than it can take.",
                reason="ledger_busy",
                retry_after_seconds=QUEUE_RETRY_AFTER_SECONDS,
            )
        loop = asyncio.get_running_loop()
        deadline_at_seconds = None if timeout_seconds is None else loop.time() + timeout_seconds
        call = Call(commands, loop.create_future(), deadline_at_seconds)
        if not commands:
            call.promise.set_result([])
            return call.promise
        self._calls.append(call)
        self._waiting += len(commands)
        self._changed.set()
        return call.promise

    async def until(self, ready: Callable[[], bool]) -> None:
        """Wait for something that `enter`, `close` or `wake` may bring about."""
        while not ready():
            self._changed.clear()
            await self._changed.wait()

    def wake(self) -> None:
        """Let the taker look again."""
        self._changed.set()

    def take(self, *, commands_max: int) -> Batch:
        """Take what there is, oldest first, without those whose callers no longer wait."""
        batch = Batch()
        now_seconds = asyncio.get_running_loop().time()
        while self._calls and len(batch) < commands_max:
            call = self._calls[0]
            left = len(call.commands) - call.taken
            is_awaited = _still_awaited(call, now_seconds)
            count = batch.take(call, commands_max - len(batch)) if is_awaited else left
            if not count:
                break
            self._waiting -= count
            if count == left:
                self._calls.popleft()
        return batch

    def close(self) -> None:
        """Let nobody in any more; those inside are still served."""
        self.closed = True
        self._changed.set()


def _still_awaited(call: Call, now_seconds: float) -> bool:
    """Tell whether the caller waits; one whose time is over is told so about all that wasn't begun."""
    if call.promise.done():
        return False
    if call.deadline_at_seconds is None or now_seconds < call.deadline_at_seconds:
        return True
    error = UnavailableError("It was not begun before its caller's deadline.", reason="deadline_exceeded")
    call.answer(call.taken, [error] * (len(call.commands) - call.taken))
    return False
