"""Whether a service should get traffic: named checks, run when somebody asks.

`/healthz` says that the process is alive and asks nothing; `/readyz` runs the checks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from services.runtime.errors import TradeFlowError

logger = structlog.get_logger(__name__)

Check = Callable[[], Awaitable[None]]
"""Returns when the part works and raises when it does not."""

CHECK_SECONDS_MAX = 2.0
"""How long one check may take: an orchestrator's probe waits 3 s or more."""

OK = "ok"
"""What a check that passed says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What the checks said."""

    ready: bool
    checks: Mapping[str, str]
    """`ok`, or what is wrong, by the check's name."""


class Health:
    """The checks of one service."""

    def __init__(self) -> None:
        """Begin without checks: a service without any is ready."""
        self._checks: dict[str, Check] = {}
        self._draining = False

    def add(self, name: str, check: Check) -> None:
        """Add a check, or replace the one with that name."""
        self._checks[name] = check

    def drain(self) -> None:
        """Say from now on that the service should get no traffic: it is stopping."""
        self._draining = True

    async def readiness(self) -> Readiness:
        """Run all checks at once."""
        names = list(self._checks)
        answers = await asyncio.gather(*(self._answer(name) for name in names))
        checks = dict(zip(names, answers, strict=True))
        if self._draining:
            checks["draining"] = "the service is stopping"
        return Readiness(ready=all(answer == OK for answer in checks.values()), checks=checks)

    async def _answer(self, name: str) -> str:
        try:
            async with asyncio.timeout(CHECK_SECONDS_MAX):
                await self._checks[name]()
        except TimeoutError:
            return f"no answer within {CHECK_SECONDS_MAX:g} s"
        except TradeFlowError as error:
            return error.message
        except Exception:  # a check of any part may fail in any way, and none may break the others
            logger.exception("health_check_failed", check=name)
            return "failed; the log has the details"
        return OK
