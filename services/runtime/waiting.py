"""Waiting for whichever comes first."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def until_one_ends(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait until one of several has ended, and cancel the others; what the one came to is not looked at."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
