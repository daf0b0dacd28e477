"""Time, as something that is handed in, so that tests can run it.

Instants are aware datetimes in UTC with microseconds; databases keep them as integers of microseconds since 1970, which
order, index and hash the same everywhere.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Where stored instants count from."""


class Clock(Protocol):
    """What a process knows of time."""

    def now(self) -> datetime:
        """Tell the instant, aware and in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Tell the instant, aware and in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def to_micros(instant: datetime) -> int:
    """Turn an aware instant into microseconds since 1970."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """Turn microseconds since 1970 into an instant in UTC."""
    return EPOCH + timedelta(microseconds=micros)
