"""The loops of the process. None should end by itself: one that does makes the process unhealthy, and it exits."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

logger = structlog.get_logger(__name__)


class Loops:
    """Starts and stops them, by name."""

    def __init__(self) -> None:
        """Begin with none."""
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, loop: Coroutine[Any, Any, None]) -> None:
        """Start one."""
        task = asyncio.create_task(loop, name=name)
        task.add_done_callback(self._note_end)
        self._tasks[name] = task

    def ended(self) -> list[str]:
        """Say which have ended."""
        return [f"the loop of {name} has ended" for name, task in self._tasks.items() if task.done()]

    async def wait_for_an_end(self) -> None:
        """Return when a loop has ended by itself, which none should."""
        await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)

    async def cancel(self, *names: str) -> None:
        """Cut some off, and wait until they have ended."""
        tasks = [self._tasks[name] for name in names]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def finish(self, name: str, *, seconds_max: float) -> None:
        """Wait for one that was asked to stop, and cut it off in the end."""
        task = self._tasks[name]
        done, _ = await asyncio.wait({task}, timeout=seconds_max)
        if not done:
            await self.cancel(name)

    @staticmethod
    def _note_end(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            logger.critical("loop_ended", loop=task.get_name(), exc_info=task.exception())
