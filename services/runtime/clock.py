"""Time, as something that is handed in, so that tests can run it.

Instants are aware datetimes in UTC with microseconds; databases keep them as integers of microseconds since 1970, which
order, index and hash the same everywhere.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Where stored instants count from: there is none before it."""

_MICROSECOND = timedelta(microseconds=1)


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
    return (instant - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Turn microseconds since 1970 into an instant in UTC."""
    return EPOCH + timedelta(microseconds=micros)


def to_micros_or_none(instant: datetime | None) -> int | None:
    """Turn an instant into microseconds, where there is one."""
    return None if instant is None else to_micros(instant)


def from_micros_or_none(micros: int | None) -> datetime | None:
    """Turn microseconds into an instant, where there are some."""
    return None if micros is None else from_micros(micros)
