"""Background loops under supervision: one that dies is logged, counted and started again, later each time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import structlog
from prometheus_client import CollectorRegistry

from services.runtime.backoff import jittered_seconds
from services.runtime.metrics import LoopMetrics

logger = structlog.get_logger(__name__)

Loop = Callable[[], Awaitable[None]]
"""Runs until it is cancelled."""

RESTART_SECONDS_MIN = 0.2
"""The wait after the first crash."""

RESTART_SECONDS_MAX = 30.0
"""The longest wait between two starts of a loop that keeps crashing."""

HEALTHY_SECONDS = 60.0
"""A loop that ran for so long has recovered: its next wait is the shortest again."""

STOP_SECONDS_MAX = 5.0
"""How long cancelled loops may take to end."""


@asynccontextmanager
async def background(
    loops: Mapping[str, Loop],
    *,
    registry: CollectorRegistry | None = None,
    restart_seconds_min: float = RESTART_SECONDS_MIN,
) -> AsyncIterator[None]:
    """Run loops while the body runs; leaving it cancels them and waits for their end.

    A loop that raises is started again, after a wait that doubles from crash to crash. A loop that returns has stopped
    for a reason of its own: that is logged, and it stays stopped.

    Args:
        loops: What runs, by the name that logs and metrics use.
        registry: Where crashes are counted.
        restart_seconds_min: The wait after the first crash.
    """
    metrics = LoopMetrics(registry or CollectorRegistry())
    tasks = [
        asyncio.create_task(_supervise(name, loop, metrics, restart_seconds_min), name=name)
        for name, loop in loops.items()
    ]
    try:
        yield
    finally:
        await _stop(tasks)


async def _supervise(name: str, loop: Loop, metrics: LoopMetrics, restart_seconds_min: float) -> None:
    crashes = 0
    while True:
        started_at_seconds = asyncio.get_running_loop().time()
        try:
            with metrics.running.labels(name).track_inprogress():
                await loop()
        except Exception:  # whatever a loop died of, the service lives on and says so
            metrics.crashes.labels(name).inc()
            ran_seconds = asyncio.get_running_loop().time() - started_at_seconds
            crashes = 1 if ran_seconds > HEALTHY_SECONDS else crashes + 1
            wait_seconds = jittered_seconds(
                crashes - 1, first_seconds=restart_seconds_min, longest_seconds=RESTART_SECONDS_MAX
            )
            logger.exception("background_loop_crashed", loop=name, crashes=crashes, restarts_in_seconds=wait_seconds)
            await asyncio.sleep(wait_seconds)
        else:
            logger.error("background_loop_ended", loop=name)
            return


async def _stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    _, still_running = await asyncio.wait(tasks, timeout=STOP_SECONDS_MAX)
    for task in still_running:
        logger.error("background_loop_does_not_end", loop=task.get_name(), seconds_max=STOP_SECONDS_MAX)
