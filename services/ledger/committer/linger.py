"""Linger: how long a batch waits for those who are on their way, where nothing else is under way.

A batch of its own costs as much as dozens of commands, so company is worth a wait; a caller that is alone must not pay
it. Where the batches before it were small, a few turns of the event loop tell whether a call is on its way. Where they
were large, many call at once, and most of them are still being read by gRPC's threads: these get the processor while
the event loop sleeps.
"""

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from services.ledger.committer.waiting_room import WaitingRoom

QUIET_TURNS = 8
"""How many turns of the event loop must bring nobody before a small batch begins. A call takes a few from its socket to
the waiting room; where no call is on its way, a turn takes microseconds."""

CROWD_COMMANDS_MIN = 6
"""From batches of how many commands on it is a crowd that calls."""

PAUSE_SECONDS = 0.002
"""How long the event loop sleeps at a time for a crowd. A pause that brings nobody is the last."""

PAUSES_MAX = 5
"""How often at most: a caller waits for its neighbours for less time than their batches would take."""

CROWD_LEFT = 0.9
"""What is left of a crowd with each smaller batch, since it may have gone."""


class LingerSettings(Struct, frozen=True, kw_only=True):
    """How long it waits, and for whom."""

    quiet_turns: int = QUIET_TURNS
    crowd_commands_min: int = CROWD_COMMANDS_MIN
    pause_seconds: float = PAUSE_SECONDS
    pauses_max: int = PAUSES_MAX


class Linger:
    """Waits until those who are likely to come are in the waiting room."""

    def __init__(
        self,
        room: WaitingRoom,
        settings: LingerSettings,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Watch a room; nobody has come yet."""
        self._room = room
        self._sleep = sleep
        self._settings = settings
        self._crowd_commands = 0.0

    def note_batch(self, commands: int) -> None:
        """Learn from a batch how many call at once."""
        self._crowd_commands = max(float(commands), self._crowd_commands * CROWD_LEFT)

    async def for_company(self, *, commands_max: int) -> None:
        """Wait while it is likely to bring more commands, until there are `commands_max`."""
        if self._crowd_commands < self._settings.crowd_commands_min:
            await self._for_neighbours(commands_max)
        else:
            await self._for_crowd(min(commands_max, self._crowd_commands))

    async def _for_neighbours(self, commands_max: int) -> None:
        quiet_turns = 0
        while quiet_turns < self._settings.quiet_turns and len(self._room) < commands_max:
            waiting = len(self._room)
            await self._sleep(0)
            quiet_turns = quiet_turns + 1 if len(self._room) == waiting else 0

    async def _for_crowd(self, commands: float) -> None:
        waiting_before, pauses = -1, 0
        while waiting_before < len(self._room) < commands and pauses < self._settings.pauses_max:
            waiting_before, pauses = len(self._room), pauses + 1
            await self._sleep(self._settings.pause_seconds)
