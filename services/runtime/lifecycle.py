"""How a process starts, runs and ends: until a signal, then in order and within a bound."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import structlog

from services.runtime import collector, event_loop

logger = structlog.get_logger(__name__)

T = TypeVar("T")

STOP_SECONDS_MAX = 20.0
"""How long stopping may take, without the time that a service goes on serving; Kubernetes kills after 30 s or more."""

EXIT_CODE_OF_FAILURE = 1
"""The service failed to start, failed while running, or didn't stop in time."""

EXIT_CODE_BASE_OF_SIGNALS = 128
"""Shells and orchestrators read 128 + n as: ended by signal n."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what orchestrators send first."""


def run_until_signalled(
    service: AbstractAsyncContextManager[T],
    *,
    on_started: Callable[[T], None] = lambda _: None,
    drain_seconds: float = 0.0,
    stop_seconds_max: float = STOP_SECONDS_MAX,
) -> None:
    """Run a service until SIGINT or SIGTERM, then leave its context and return.

    The first signal stops it in order (also while it is still starting); the second ends the process at once, and so
    does a stop that takes longer than its bound.

    Args:
        service: Entered to start, left to stop.
        on_started: Called with what the service yielded, to say where it listens.
        drain_seconds: For how long it means to go on serving after the signal.
        stop_seconds_max: How long leaving may take beyond that before the process is ended with code 1.

    Raises:
        SystemExit: With code 1, when the service failed; the log says why.
    """
    stop = _Stop(drain_seconds + stop_seconds_max)
    collector.collect_seldom()
    try:
        event_loop.run(_run(service, on_started, stop))
    except Exception as error:
        logger.critical("service_failed", exc_info=error)
        raise SystemExit(EXIT_CODE_OF_FAILURE) from error
    finally:
        stop.is_over()


async def _run(service: AbstractAsyncContextManager[T], on_started: Callable[[T], None], stop: "_Stop") -> None:
    loop = asyncio.get_running_loop()
    life = asyncio.create_task(_live(service, on_started, stop))
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.on_signal, signal.Signals(number), life)
    try:
        await life
    except asyncio.CancelledError:
        if not stop.requested.is_set():
            raise
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


async def _live(service: AbstractAsyncContextManager[T], on_started: Callable[[T], None], stop: "_Stop") -> None:
    async with service as running:
        stop.service_started = True
        collector.keep_what_is_there()
        on_started(running)
        await stop.requested.wait()
    logger.info("service_stopped")


class _Stop:
    """The wish to stop, and the bound on how long it takes."""

    def __init__(self, seconds_max: float) -> None:
        self.requested = asyncio.Event()
        self.service_started = False
        self._seconds_max = seconds_max
        self._watchdog: threading.Timer | None = None

    def on_signal(self, number: signal.Signals, life: asyncio.Task[None]) -> None:
        if self.requested.is_set():
            logger.warning("stopped_at_once", signal=number.name)
            os._exit(EXIT_CODE_BASE_OF_SIGNALS + number)
        logger.info("service_stopping", signal=number.name)
        self.requested.set()
        # A thread, since what hangs may be the event loop itself.
        self._watchdog = threading.Timer(self._seconds_max, self._give_up)
        self._watchdog.daemon = True
        self._watchdog.start()
        if not self.service_started:
            life.cancel()

    def is_over(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()

    def _give_up(self) -> None:
        logger.critical("service_did_not_stop_in_time", seconds_max=self._seconds_max)
        os._exit(EXIT_CODE_OF_FAILURE)
