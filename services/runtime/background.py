"""Background loops under supervision: one that dies is logged, counted and started again, later each time.

A loop that ends because what it stands on is away (`UnavailableError`) didn't crash: that is a warning, and it goes on
within seconds once that is back.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import structlog
from prometheus_client import CollectorRegistry

from services.runtime.backoff import jittered_seconds
from services.runtime.errors import UnavailableError
from services.runtime.metrics import LoopMetrics

logger = structlog.get_logger(__name__)

Loop = Callable[[], Awaitable[None]]
"""Runs until it is cancelled."""

RESTART_SECONDS_MIN = 0.2
"""The wait after the first crash."""

RESTART_SECONDS_MAX = 30.0
"""The longest wait between two starts of a loop that keeps crashing."""

AWAY_SECONDS_MAX = 5.0
"""The longest wait of a loop whose database or broker is away: it goes on soon after they are back."""

HEALTHY_SECONDS = 60.0
"""A loop that ran for so long has recovered: its next wait is the shortest again."""

STOP_SECONDS_MAX = 5.0
"""How long cancelled loops may take to end."""


@asynccontextmanager
async def background(
    loops: Mapping[str, Loop],
    *,
    registry: CollectorRegistry | None = None,
    on_end: Callable[[str], None] = lambda _: None,
    restart_seconds_min: float = RESTART_SECONDS_MIN,
) -> AsyncIterator[None]:
    """Run loops while the body runs; leaving it cancels them and waits for their end.

    A loop that raises is started again, after a wait that doubles from time to time. A loop that returns has stopped
    for a reason of its own: that is logged, and it stays stopped.

    Args:
        loops: What runs, by the name that logs and metrics use.
        registry: Where crashes are counted.
        on_end: Is told the name of a loop that returned, and stays stopped.
        restart_seconds_min: The wait after the first crash.
    """
    metrics = LoopMetrics(registry or CollectorRegistry())
    tasks = [
        asyncio.create_task(_supervise(name, loop, metrics, on_end, restart_seconds_min), name=name)
        for name, loop in loops.items()
    ]
    try:
        yield
    finally:
        await _stop(tasks)


async def _supervise(
    name: str, loop: Loop, metrics: LoopMetrics, on_end: Callable[[str], None], restart_seconds_min: float
) -> None:
    with metrics.running.labels(name).track_inprogress():
        await _run_again_and_again(name, loop, metrics, restart_seconds_min)
    logger.error("background_loop_ended", loop=name)
    on_end(name)


async def _run_again_and_again(name: str, loop: Loop, metrics: LoopMetrics, restart_seconds_min: float) -> None:
    """Run a loop until it returns."""
    failures = 0
    while True:
        started_at_seconds = asyncio.get_running_loop().time()
        try:
            await loop()
        except (Exception, asyncio.CancelledError) as error:
            # Whatever a loop died of, the service lives on and says so.
            if _is_being_cancelled():
                raise
            ran_seconds = asyncio.get_running_loop().time() - started_at_seconds
            failures = 1 if ran_seconds > HEALTHY_SECONDS else failures + 1
            await asyncio.sleep(_tell_failure(name, error, failures, metrics, restart_seconds_min))
        else:
            return


def _is_being_cancelled() -> bool:
    """Tell whether somebody ends this task: who awaits what another one cancelled dies of the same exception."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _tell_failure(
    name: str, error: BaseException, failures: int, metrics: LoopMetrics, restart_seconds_min: float
) -> float:
    """Log why a loop ended, and return for how long it stays so: what it stands on may be away, and comes back."""
    longest_seconds = AWAY_SECONDS_MAX if isinstance(error, UnavailableError) else RESTART_SECONDS_MAX
    wait_seconds = jittered_seconds(failures - 1, first_seconds=restart_seconds_min, longest_seconds=longest_seconds)
    if isinstance(error, UnavailableError):
        logger.warning(
            "background_loop_waits",
            loop=name,
            reason=error.reason,
            error=error.message,
            restarts_in_seconds=wait_seconds,
        )
    else:
        metrics.crashes.labels(name).inc()
        logger.error(
            "background_loop_crashed", loop=name, crashes=failures, restarts_in_seconds=wait_seconds, exc_info=error
        )
    return wait_seconds


async def _stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    _, still_running = await asyncio.wait(tasks, timeout=STOP_SECONDS_MAX)
    for task in still_running:
        logger.error("background_loop_does_not_end", loop=task.get_name(), seconds_max=STOP_SECONDS_MAX)
