"""Deliver webhooks that are due: take some, call the endpoints, write what came of it.

A pass takes an equal share from each endpoint that has some, so that one with a long backlog fills none.

Endpoints are called side by side, one endpoint's messages one after the other. No pass waits long for one that answers
slowly: the next one begins with all others. The first failure of an endpoint leaves its other messages for later, so
that one that hangs costs a single deadline. From then on, until it takes a message, it is called in the passes of those
that failed, which have places of their own. One that answers slowly has its turn, and what is left of its messages
comes after a rest.
An endpoint may be removed while its messages are sent, so each is sent only if it is still there. What is left then
ends as all that waits for a removed endpoint does.
A process that dies in between leaves its deliveries taken for a while: they are sent again, under the same ids.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from services.orders.domain.webhook import (
    FIRST_PAUSE_SECONDS,
    LONGEST_ENDPOINT_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    DeliveryState,
)
from services.orders.ports import Store
from services.orders.webhook_ports import Attempt, TakenDelivery, WebhookSender
from services.runtime.backoff import jittered_seconds
from services.runtime.clock import Clock
from services.runtime.waiting import until_one_ends

DELIVERIES_A_PASS_MAX = 64
"""Taken at once, and endpoints that are called at once: what is taken is sent again after a crash, so it is little."""

PASS_SECONDS_MAX = 1.0
"""How long a pass waits for those that it began with; what they have under way then goes on beside the next passes."""

TAKEN_FOR = timedelta(minutes=15)
"""How long a delivery belongs to who took it: longer than a pass of one endpoint's messages, at a deadline each."""

TURN = timedelta(seconds=5)
"""How long it goes on with one endpoint at a stretch: its place is somebody else's then."""

REST = timedelta(seconds=1)
"""How long what is left then waits: the passes meanwhile take what others have waited for."""

IsThere = Callable[[UUID], Awaitable[bool]]
"""Tells whether an endpoint hasn't been removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What a pass came to."""

    taken: int = 0
    delivered: int = 0
    failed: int = 0
    died: int = 0


@dataclass(frozen=True, slots=True)
class _Tried:
    taken: TakenDelivery
    attempt: Attempt | None
    """None: it was left for later."""


class Deliveries:
    """What one loop has under way, an endpoint each: those that failed the last time, or all others."""

    def __init__(
        self,
        *,
        failing: bool,
        store: Store,
        sender: WebhookSender,
        is_there: IsThere,
        clock: Clock,
        attempts_max: int,
        pass_seconds_max: float = PASS_SECONDS_MAX,
    ) -> None:
        """Begin with nothing under way."""
        self._pass_seconds_max = pass_seconds_max
        self._failing = failing
        self._store = store
        self._clock = clock
        self._deliver = partial(
            _deliver_to_one, store=store, sender=sender, is_there=is_there, clock=clock, attempts_max=attempts_max
        )
        self._under_way: dict[UUID, asyncio.Task[Delivered]] = {}

    async def deliver(self) -> Delivered:
        """Begin with what is due, wait for it a while, and tell how much that was and what has ended since.

        Raises:
            UnavailableError: The database is away; what was sent meanwhile is sent again.
        """
        taken = await self._take_due()
        begun = [self._begin(endpoint_id, group) for endpoint_id, group in taken.items()]
        if begun or len(self._under_way) == DELIVERIES_A_PASS_MAX:
            await self._wait(begun or self._under_way.values(), all_of_them=bool(begun))
        ended = self._ended()
        return Delivered(
            taken=sum(len(group) for group in taken.values()),
            delivered=sum(one.delivered for one in ended),
            failed=sum(one.failed for one in ended),
            died=sum(one.died for one in ended),
        )

    async def aclose(self) -> None:
        """Leave what is under way: it belongs to nobody for a while, and is sent again then."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take_due(self) -> dict[UUID, list[TakenDelivery]]:
        places = DELIVERIES_A_PASS_MAX - len(self._under_way)
        if not places:
            return {}
        now = self._clock.now()
        async with self._store.transaction() as rows:
            taken = await rows.webhooks.take_due(
                now,
                failing=self._failing,
                but=self._under_way.keys(),
                taken_until=now + TAKEN_FOR,
                rows_max=places,
            )
        by_endpoint: defaultdict[UUID, list[TakenDelivery]] = defaultdict(list)
        for one in taken:
            by_endpoint[one.endpoint.endpoint_id].append(one)
        return by_endpoint

    def _begin(self, endpoint_id: UUID, group: Sequence[TakenDelivery]) -> asyncio.Task[Delivered]:
        self._under_way[endpoint_id] = asyncio.create_task(self._deliver(group))
        return self._under_way[endpoint_id]

    async def _wait(self, tasks: Iterable[asyncio.Task[Delivered]], *, all_of_them: bool) -> None:
        until = asyncio.ALL_COMPLETED if all_of_them else asyncio.FIRST_COMPLETED
        ends = asyncio.wait(list(tasks), return_when=until)
        await until_one_ends(ends, self._clock.sleep(self._pass_seconds_max))

    def _ended(self) -> list[Delivered]:
        ended = [endpoint_id for endpoint_id, task in self._under_way.items() if task.done()]
        return [task.result() for task in [self._under_way.pop(endpoint_id) for endpoint_id in ended]]


async def _deliver_to_one(
    group: Sequence[TakenDelivery],
    *,
    store: Store,
    sender: WebhookSender,
    is_there: IsThere,
    clock: Clock,
    attempts_max: int,
) -> Delivered:
    tried: list[_Tried] = []
    began_at = clock.now()
    is_over = False
    for taken in group:
        is_over = is_over or not await is_there(taken.endpoint.endpoint_id)
        if is_over:
            tried.append(_Tried(taken, None))
            continue
        now = clock.now()
        attempt = await sender.send(taken, secrets=taken.endpoint.secrets(now), now=now)
        is_over = not attempt.succeeded or clock.now() - began_at >= TURN
        tried.append(_Tried(taken, attempt))
    return await _write(tried, store=store, now=clock.now(), attempts_max=attempts_max)


async def _write(tried: Sequence[_Tried], *, store: Store, now: datetime, attempts_max: int) -> Delivered:
    """Write what came of one endpoint's deliveries in one transaction."""
    endpoint = tried[0].taken.endpoint
    failed = [one for one in tried if one.attempt is not None and not one.attempt.succeeded]
    failures = endpoint.failures + 1 if failed else 0
    leaves_some = tried[-1].attempt is None
    resumes_at = now + (_pause(failures - 1, LONGEST_ENDPOINT_PAUSE_SECONDS) if failed else REST)
    died = 0
    async with store.transaction() as rows:
        for one in tried:
            if one.attempt is None:
                await rows.webhooks.give_back(one.taken, due_at=resumes_at)
            elif one.attempt.succeeded:
                await rows.webhooks.finish(one.taken, one.attempt, DeliveryState.DELIVERED, due_at=None, now=now)
            elif one.attempt.is_final or one.taken.attempts + 1 >= attempts_max:
                died += 1
                await rows.webhooks.finish(one.taken, one.attempt, DeliveryState.DEAD, due_at=None, now=now)
            else:
                due_at = now + _pause(one.taken.attempts, LONGEST_PAUSE_SECONDS)
                await rows.webhooks.finish(one.taken, one.attempt, DeliveryState.PENDING, due_at=due_at, now=now)
        if failures or endpoint.failures or leaves_some:
            await rows.webhooks.judge(endpoint, failures=failures, resumes_at=resumes_at)
    delivered = sum(one.attempt is not None and one.attempt.succeeded for one in tried)
    return Delivered(delivered=delivered, failed=len(failed), died=died)


def _pause(attempt: int, longest_seconds: int) -> timedelta:
    seconds = jittered_seconds(attempt, first_seconds=FIRST_PAUSE_SECONDS, longest_seconds=longest_seconds)
    return timedelta(seconds=seconds)
