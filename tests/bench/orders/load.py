"""Buyers who order again and again at the orders service's own door, and what becomes of their orders."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from urllib.parse import urlsplit

import msgspec

from services.runtime.database_opening import open_database
from services.runtime.ids import new_id

STEP_SECONDS = 0.05
"""Between two looks whether all orders are settled."""

SETTLED_SECONDS_MAX = 60.0
"""How long the last orders may take."""

_COUNT_LEFT = "SELECT COUNT(*) FROM orders WHERE state <> 'SETTLED'"

# How long each order took, from its first row to the one that settled it.
_SPANS = """
    SELECT s.changed_at - p.changed_at FROM order_history p JOIN order_history s ON s.order_id = p.order_id
    WHERE p.version = 1 AND s.state = 'SETTLED' AND p.changed_at >= $1
"""

_LAST_SETTLED = "SELECT MAX(changed_at) FROM order_history WHERE state = 'SETTLED'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a load came to: orders, the time until the last one was settled, and each one's own."""

    orders: int
    seconds: float
    answer_seconds: Sequence[float]
    settle_seconds: Sequence[float]


async def load(
    orders_url: str, database_url: str, *, tokens: Sequence[str], skus: Sequence[str], callers: int, seconds: float
) -> Loaded:
    """Let callers order for some seconds, each as soon as the order before is answered; wait until all are settled."""
    began_micros = time.time_ns() // 1_000
    began_at = time.perf_counter()
    answers: list[float] = []
    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            chance = Random(number)  # noqa: S311 - chance that can be repeated
            caller = _Caller(orders_url, tokens[number % len(tokens)], skus, chance, answers)
            group.create_task(caller.order_until(began_at + seconds))
    spans, settled_micros = await _settled(database_url, began_micros)
    return Loaded(
        orders=len(answers),
        seconds=(settled_micros - began_micros) / 1_000_000,
        answer_seconds=answers,
        settle_seconds=spans,
    )


class _Caller:
    """One connection that is kept open: as little work as asking takes."""

    def __init__(self, url: str, token: str, skus: Sequence[str], chance: Random, answers: list[float]) -> None:
        self._parts = urlsplit(url)
        self._token = token
        self._skus = skus
        self._chance = chance
        self._answers = answers

    async def order_until(self, ends_at: float) -> None:
        reader, writer = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        try:
            while (began_at := time.perf_counter()) < ends_at:
                writer.write(self._request())
                await _read_created(reader)
                self._answers.append(time.perf_counter() - began_at)
        finally:
            writer.close()

    def _request(self) -> bytes:
        body = msgspec.json.encode({"lines": [{"sku": self._chance.choice(self._skus), "quantity": 1}]})
        return (
            f"POST /api/v1/orders HTTP/1.1\r\nHost: {self._parts.netloc}\r\nAuthorization: Bearer {self._token}\r\n"
            f"Idempotency-Key: {new_id()}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body


async def _read_created(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    body = await reader.readexactly(length)
    if b" 201 " not in head[:16]:
        raise RuntimeError(f"an order was not placed: {head[:40]!r} {body!r}")


async def _settled(database_url: str, since_micros: int) -> tuple[list[float], int]:
    """Wait until no order is left; return how long each took, and when the last one was settled."""
    database = open_database(database_url)
    try:
        async with asyncio.timeout(SETTLED_SECONDS_MAX):
            while True:
                async with database.snapshot() as connection:
                    ((left,),) = await connection.fetch(_COUNT_LEFT)
                    if not left:
                        spans = await connection.fetch(_SPANS, since_micros)
                        ((last_micros,),) = await connection.fetch(_LAST_SETTLED)
                        return [row[0] / 1_000_000 for row in spans], last_micros
                await asyncio.sleep(STEP_SECONDS)
    finally:
        await database.close()
