"""/healthz, /readyz and /metrics.

Alive is a process whose watches can be believed and whose loops run; what isn't is started again. Ready is one that has
heard from the API server: also a process that waits for the lease, so that a roll-out can go on.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from tradeflow_operator.metrics import OperatorMetrics


class Health:
    """What the probes ask; each question returns sentences about what is wrong."""

    def __init__(self) -> None:
        """Begin without questions."""
        self._live: list[Callable[[], Sequence[str]]] = []
        self._ready: list[Callable[[], Sequence[str]]] = []

    def add_live(self, question: Callable[[], Sequence[str]]) -> None:
        """Add what has to be well, or the process is started again."""
        self._live.append(question)

    def add_ready(self, question: Callable[[], Sequence[str]]) -> None:
        """Add what has to be well before the process counts as started."""
        self._ready.append(question)

    def live_problems(self) -> list[str]:
        """Ask what has to be well."""
        return [problem for question in self._live for problem in question()]

    def ready_problems(self) -> list[str]:
        """Ask all."""
        return [*self.live_problems(), *(problem for question in self._ready for problem in question())]


@asynccontextmanager
async def serving(health: Health, metrics: OperatorMetrics, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve the probes and the metrics; yields the port."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(health.live_problems())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(health.ready_problems())

    async def render(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": "text/plain; version=1.0.0"})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", render)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _answer(problems: Sequence[str]) -> web.Response:
    return web.json_response({"ok": not problems, "problems": list(problems)}, status=503 if problems else 200)
