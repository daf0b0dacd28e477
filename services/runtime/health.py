"""Whether a process works, and whether it should get traffic.

`/healthz` says that the process is alive: its event loop moves, since it answers, and none of its background loops has
ended. What isn't alive is restarted. `/readyz`, and gRPC's health service with it, says whether it can do its work now:
named checks, run when somebody asks. What isn't ready gets no traffic, and is left alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from services.runtime.errors import TradeFlowError

logger = structlog.get_logger(__name__)

Check = Callable[[], Awaitable[None]]
"""Returns when the part works and raises when it does not."""

HINT_SECONDS_MIN = 10.0
"""How long the answer of a check stands that costs those who are asked more than a look."""

CHECK_SECONDS_MAX = 2.0
"""How long one check may take: an orchestrator's probe waits 3 s or more."""

OK = "ok"
"""What a check that passed says."""


LOOP_ENDED = "ended"
"""What is said of a background loop that will never run again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """Whether the process can still do what it is for."""

    alive: bool
    loops: Mapping[str, str]
    """Those that have ended, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What the checks said."""

    ready: bool
    checks: Mapping[str, str]
    """`ok`, or what is wrong, by the check's name."""
    hints: Mapping[str, str]
    """The same of parts that the service can do without for a while: they don't decide whether it is ready."""


class Health:
    """The checks of one service."""

    def __init__(self) -> None:
        """Begin without checks: a service without any is ready."""
        self._checks: dict[str, Check] = {}
        self._hints: dict[str, Check] = {}
        self._ended_loops: dict[str, str] = {}
        self._draining = False

    def add(self, name: str, check: Check) -> None:
        """Add a check, or replace the one with that name."""
        self._checks[name] = check

    def add_hint(self, name: str, check: Check) -> None:
        """Add a check of a part whose absence is told, and takes no traffic away."""
        self._hints[name] = check

    def note_ended(self, loop: str) -> None:
        """Say that a background loop ended for good: the process has to be started again."""
        self._ended_loops[loop] = LOOP_ENDED

    def liveness(self) -> Liveness:
        """Tell whether the process is alive; whoever gets no answer at all knows that it isn't."""
        return Liveness(alive=not self._ended_loops, loops=dict(self._ended_loops))

    async def drain(self, *, unready_seconds: float = 0.0) -> None:
        """Say from now on that the service should get no traffic: it is stopping.

        Args:
            unready_seconds: How long to wait then, so that who sends traffic hears of it while calls are still served.
        """
        self._draining = True
        await asyncio.sleep(unready_seconds)

    async def readiness(self) -> Readiness:
        """Run all checks at once."""
        checks, hints = await asyncio.gather(_answers(self._checks), _answers(self._hints))
        if self._draining:
            checks["draining"] = "the service is stopping"
        return Readiness(ready=all(answer == OK for answer in checks.values()), checks=checks, hints=hints)


def asked_rarely(check: Check, *, seconds_min: float = HINT_SECONDS_MIN) -> Check:
    """Make a check that asks at most so often, and in between repeats what it was told."""
    told: tuple[float, Exception | None] | None = None

    async def ask() -> None:
        nonlocal told
        now_seconds = asyncio.get_running_loop().time()
        if told is None or now_seconds >= told[0] + seconds_min:
            error: Exception | None = None
            try:
                async with asyncio.timeout(CHECK_SECONDS_MAX / 2):
                    await check()
            except Exception as raised:  # noqa: BLE001 - it is raised again, now and until the next time
                error = raised
            told = (now_seconds, error)
        if told[1] is not None:
            raise told[1]

    return ask


async def _answers(checks: Mapping[str, Check]) -> dict[str, str]:
    answers = await asyncio.gather(*(_answer(name, check) for name, check in checks.items()))
    return dict(zip(checks, answers, strict=True))


async def _answer(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS_MAX:g} s"
    except TradeFlowError as error:
        return error.message
    except Exception:  # a check of any part may fail in any way, and none may break the others
        logger.exception("health_check_failed", check=name)
        return "failed; the log has the details"
    return OK
