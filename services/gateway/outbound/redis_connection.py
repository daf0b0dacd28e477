"""One pool of connections to Redis (or Valkey), with a deadline on everything.

The gateway does without Redis when it must: so a Redis that is away has to be noticed quickly, and not anew by each
request. After a failure, calls are refused at once for a moment; then one call finds out whether Redis is back, and the
others are refused until it has.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import structlog
from prometheus_client import CollectorRegistry
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from services.gateway.metrics import RedisMetrics
from services.runtime.errors import UnavailableError

logger = structlog.get_logger(__name__)

T = TypeVar("T")

CALL_SECONDS_MAX = 2.0
"""How long one call may take, waiting for a free connection included. Redis answers in less than a millisecond; what is
slow is a starved machine, and giving up too soon there would do more harm than waiting."""

CONNECT_SECONDS_MAX = 0.5
"""How long making a connection may take."""

PAUSE_SECONDS = 1.0
"""For how long calls are refused at once after a failure, before one tries again."""

CONNECTIONS_MAX = 8
"""Sessions of one replica: at a fifth of a millisecond a call they carry 40,000 calls a second, many times what one
replica needs; and each costs the embedded Redis a thread."""

KEY_PREFIX = "tradeflow:"
"""Before each key, so that a Redis can be shared."""

Argument = str | bytes | int | float
"""What a command takes."""


class Script:
    """A Lua script, known to Redis by its digest."""

    def __init__(self, text: str) -> None:
        """Keep the text."""
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisConnection:
    """Runs commands; every failure of the connection is an UnavailableError (reason redis_unavailable)."""

    def __init__(self, url: str, *, pause_seconds: float = PAUSE_SECONDS, metrics: RedisMetrics | None = None) -> None:
        """Connect when first needed."""
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=CALL_SECONDS_MAX,
            socket_timeout=CALL_SECONDS_MAX,
            socket_connect_timeout=CONNECT_SECONDS_MAX,
            protocol=2,  # RESP3's push messages are of no use here, and every server speaks RESP2
            # One more attempt at once: the first may meet a connection that a restarted Redis has closed.
            retry=Retry(NoBackoff(), 1),
        )
        self._redis: Any = Redis.from_pool(pool)  # Any: the client's own commands are untyped
        self._metrics = metrics or RedisMetrics(CollectorRegistry())
        self._pause_seconds = pause_seconds
        self._is_away = False
        self._refuse_until_seconds = 0.0

    async def command(self, *words: Argument) -> Any:
        """Run one command."""
        return await self._run(lambda: self._redis.execute_command(*words))

    async def pipeline(self, commands: Sequence[Sequence[Argument]], *, atomic: bool = False) -> list[Any]:
        """Run commands in one round trip; atomic ones let nothing in between."""
        return await self._run(lambda: self._pipelined(commands, atomic=atomic))

    async def script(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run a script: by its digest, and by its text the first time and after Redis forgot it."""

        async def run() -> Any:
            try:
                return await self._redis.execute_command("EVALSHA", script.digest, len(keys), *keys, *arguments)
            except NoScriptError:
                return await self._redis.execute_command("EVAL", script.text, len(keys), *keys, *arguments)

        return await self._run(run)

    async def scripts(self, script: Script, calls: Sequence[tuple[str, Sequence[Argument]]]) -> None:
        """Run a script for each of these keys, in one round trip; all again by its text where Redis forgot it."""
        by_digest = [("EVALSHA", script.digest, 1, key, *arguments) for key, arguments in calls]
        by_text = [("EVAL", script.text, 1, key, *arguments) for key, arguments in calls]

        async def run() -> None:
            try:
                await self._pipelined(by_digest, atomic=False)
            except NoScriptError:
                await self._pipelined(by_text, atomic=False)

        await self._run(run)

    async def check_ready(self) -> None:
        """Fit a readiness check.

        Raises:
            UnavailableError: Redis can't be reached.
        """
        await self.command("PING")

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def _pipelined(self, commands: Sequence[Sequence[Argument]], *, atomic: bool) -> list[Any]:
        async with self._redis.pipeline(transaction=atomic) as pipeline:
            for words in commands:
                pipeline.execute_command(*words)
            return list(await pipeline.execute())

    async def _run(self, call: Callable[[], Awaitable[T]]) -> T:
        began_at_seconds = self._admit()
        outcome = "cancelled"
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                answer = await failing_as_redis_does(call)
            outcome = "ok"
        except (RedisConnectionError, RedisTimeoutError, TimeoutError, OSError) as error:
            outcome = "failed"
            logger.warning("redis_unavailable", error=repr(error))
            raise _unavailable() from error
        except RedisError as error:
            # Loading, out of memory, read-only replica: an answer, but not one to work with.
            outcome = "refused"
            logger.warning("redis_refused", error=repr(error))
            raise _unavailable() from error
        else:
            return answer
        finally:
            self._note(outcome, time.monotonic() - began_at_seconds)

    def _admit(self) -> float:
        """Let a call begin, and tell when; while Redis is away, one at a time."""
        now_seconds = time.monotonic()
        if now_seconds < self._refuse_until_seconds:
            self._metrics.skipped.inc()
            raise _unavailable()
        if self._is_away:
            self._refuse_until_seconds = now_seconds + CALL_SECONDS_MAX
        return now_seconds

    def _note(self, outcome: str, seconds: float) -> None:
        self._is_away = outcome == "failed" or (self._is_away and outcome == "cancelled")
        self._refuse_until_seconds = time.monotonic() + self._pause_seconds if outcome == "failed" else 0.0
        if outcome != "cancelled":
            self._metrics.duration_seconds.labels(outcome).observe(seconds)
            self._metrics.up.set(outcome == "ok")


async def failing_as_redis_does(call: Callable[[], Awaitable[T]]) -> T:
    """Call; uvloop says of a connection that Redis closed while a command was written what is no error of Redis.

    Raises:
        RedisConnectionError: That was so; other errors pass as they are.
    """
    try:
        return await call()
    except RuntimeError as error:
        if "closed" in str(error):
            raise RedisConnectionError(str(error)) from error
        raise


def _unavailable() -> UnavailableError:
    return UnavailableError("Redis can't be reached.", reason="redis_unavailable")
