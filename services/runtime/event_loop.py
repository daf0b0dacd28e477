"""The event loop of every process: uvloop, whose sockets and callbacks cost a fraction of asyncio's own.

gRPC's Python answers a call by dozens of callbacks, so the loop is much of what a single call costs.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop of its own, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
