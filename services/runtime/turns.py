"""Long work on the event loop, cut so that others get their turns in between."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

ITEMS_OF_TURN = 32
"""Of work that takes some 50 µs an item: a millisecond or two, which no caller notices."""

T = TypeVar("T")

Rest = Callable[[], Awaitable[None]]
"""Lets others work for a while."""


async def one_turn() -> None:
    """Let all have a turn that are ready. A call needs dozens, so work that can wait had better rest for longer."""
    await asyncio.sleep(0)


async def in_turns(items: Iterable[T], *, of_turn: int = ITEMS_OF_TURN, rest: Rest = one_turn) -> AsyncIterator[T]:
    """Go through items, and rest after every few of them."""
    for number, item in enumerate(items, 1):
        yield item
        if number % of_turn == 0:
            await rest()


async def pieces_in_turns(items: Sequence[T], *, of_turn: int) -> AsyncIterator[Sequence[T]]:
    """Cut items into pieces, and let the event loop turn before each; where one piece is all, it comes at once."""
    for start in range(0, len(items), of_turn):
        if len(items) > of_turn:
            await asyncio.sleep(0)
        yield items[start : start + of_turn]
