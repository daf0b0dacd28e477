"""Hands each wallet event to the connections of its wallet in this replica.

It also knows how much of a wallet this replica has seen. Redis's history may have lost its tail (Redis was away, or no
replica was running when an event was published); what this replica saw, or asked the ledger for, since it began to read
the topic without a break, it knows for sure.

And it notices a ledger that was restored to an earlier moment, by a wallet's event that has a number which it has seen,
or passed, and was recorded after that: what is known of the wallet is no longer so, and who watches it has to reload.
"""

import asyncio
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from services.gateway.ports import WalletNotice
from services.runtime.errors import RateLimitedError, UnavailableError

logger = structlog.get_logger(__name__)

WALLETS_REMEMBERED_MAX = 100_000
"""Wallets of which something is known; about 300 bytes each. Others are asked for anew."""


@dataclass(slots=True)
class _Known:
    """What this replica knows of a wallet."""

    sequence: int = 0
    """Its newest, for sure while `continuity` is the feed's."""
    continuity: int = -1
    seen_sequence: int = 0
    """Of the newest event that was seen here."""
    seen_recorded_at_micros: int = 0


class Subscription:
    """One connection's place in the feed: a bounded queue of live events."""

    def __init__(self, wallet_id: str, queue_events_max: int) -> None:
        """Begin with an empty queue."""
        self.wallet_id = wallet_id
        self.overflowed = asyncio.Event()
        self.draining = False
        self.continuity_lost = False
        self.begins_anew_at: int | None = None
        """The sequence of the event that showed that what the reader has may be lost; None while all is well."""
        self._queue: deque[WalletNotice] = deque()
        self._queue_events_max = queue_events_max
        self._news = asyncio.Event()

    def offer(self, notice: WalletNotice) -> None:
        """Queue a live event; a full queue ends the subscription instead: its reader is too slow."""
        if len(self._queue) >= self._queue_events_max:
            self.overflowed.set()
            return
        self._queue.append(notice)
        self._news.set()

    def drain(self) -> None:
        """Tell the reader that this replica stops."""
        self.draining = True
        self._news.set()

    def lose_continuity(self) -> None:
        """Tell the reader that events may have passed unseen."""
        self.continuity_lost = True
        self._news.set()

    def begin_anew(self, sequence: int) -> None:
        """Tell the reader that the ledger was restored, and that what it has may be lost."""
        self._queue.clear()
        self.begins_anew_at = sequence
        self._news.set()

    def take(self) -> WalletNotice | None:
        """Return the next live event, if there is one."""
        return self._queue.popleft() if self._queue else None

    async def wait(self, timeout_seconds: float) -> None:
        """Wait until there is something to see here, or until the timeout."""
        if self._queue or self.draining or self.continuity_lost or self.begins_anew_at is not None:
            return
        self._news.clear()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._news.wait()
        except TimeoutError:
            return


class WalletFeed:
    """The connections of this replica, by wallet."""

    def __init__(self, *, queue_events_max: int, connections_max: int, connections_per_wallet_max: int) -> None:
        """Begin without connections."""
        self.queue_events_max = queue_events_max
        self._connections_max = connections_max
        self._connections_per_wallet_max = connections_per_wallet_max
        self._subscriptions: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._count = 0
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        self.continuity = 0
        """Rises when events may have passed unseen: what was known for sure before it no longer is."""

    @contextmanager
    def subscribed(self, wallet_id: str) -> Iterator[Subscription]:
        """Receive the wallet's live events from now on.

        Raises:
            RateLimitedError: The wallet has too many connections here.
            UnavailableError: This replica stops or is full: another one may do.
        """
        self._admit(wallet_id)
        subscription = Subscription(wallet_id, self.queue_events_max)
        self._subscriptions[wallet_id].add(subscription)
        self._count += 1
        self._empty.clear()
        try:
            yield subscription
        finally:
            self._forget(subscription)

    def publish(self, notice: WalletNotice) -> None:
        """Hand a live event to the wallet's connections."""
        if self._shows_a_restore(notice):
            self.begin_anew(notice.wallet_id, notice.sequence)
        self.learn(notice.wallet_id, notice.sequence, continuity=self.continuity)
        self.see(notice)
        for subscription in self._subscriptions.get(notice.wallet_id, ()):
            subscription.offer(notice)

    def see(self, notice: WalletNotice) -> None:
        """Note an event that the history or the ledger has: another of its number that is recorded later is noticed."""
        known = self._known_of(notice.wallet_id)
        if notice.sequence >= known.seen_sequence:
            known.seen_sequence, known.seen_recorded_at_micros = notice.sequence, notice.recorded_at_micros

    def learn(self, wallet_id: str, sequence: int, *, continuity: int) -> None:
        """Note that the wallet has events up to a sequence, as seen here or as the ledger says.

        Args:
            wallet_id: The wallet.
            sequence: The newest sequence.
            continuity: The feed's `continuity` from before the question; an older one's answer is worth nothing.
        """
        if continuity != self.continuity:
            return
        known = self._known_of(wallet_id)
        known.sequence = max(sequence, known.sequence) if known.continuity == continuity else sequence
        known.continuity = continuity

    def newest_sequence(self, wallet_id: str) -> int | None:
        """Tell the wallet's newest sequence if this replica knows it for sure."""
        known = self._known.get(wallet_id)
        return known.sequence if known is not None and known.continuity == self.continuity else None

    def lose_continuity(self) -> None:
        """Note that events may have passed unseen: nothing is known for sure, and each connection has to ask."""
        self.continuity += 1
        for subscription in self._all():
            subscription.lose_continuity()

    def begin_anew(self, wallet_id: str, sequence: int) -> None:
        """Note that the ledger was restored to an earlier moment, and that a wallet is at this sequence again.

        What is known of others is no longer sure either: their next events may have numbers that are known, too.
        """
        logger.warning("wallet_events_begin_anew", wallet_id=wallet_id, sequence=sequence)
        self.continuity += 1
        self._known.pop(wallet_id, None)
        for subscription in self._subscriptions.get(wallet_id, ()):
            subscription.begin_anew(sequence)

    async def drain(self, *, timeout_seconds: float) -> None:
        """Let no connection in, tell all to go elsewhere, and wait until they have, up to a timeout."""
        self._draining = True
        for subscription in self._all():
            subscription.drain()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._empty.wait()
        except TimeoutError:
            return

    def _shows_a_restore(self, notice: WalletNotice) -> bool:
        known = self._known.get(notice.wallet_id)
        return (
            known is not None
            and notice.sequence <= known.seen_sequence
            and notice.recorded_at_micros > known.seen_recorded_at_micros
        )

    def _known_of(self, wallet_id: str) -> _Known:
        known = self._known.setdefault(wallet_id, _Known())
        self._known.move_to_end(wallet_id)
        while len(self._known) > WALLETS_REMEMBERED_MAX:
            self._known.popitem(last=False)
        return known

    def _admit(self, wallet_id: str) -> None:
        if self._draining:
            raise UnavailableError("This replica is stopping; connect again.", reason="draining")
        if self._count >= self._connections_max:
            raise UnavailableError("This replica has as many connections as it takes.", reason="connections_full")
        if len(self._subscriptions.get(wallet_id, ())) >= self._connections_per_wallet_max:
            raise RateLimitedError(
                f"A wallet has at most {self._connections_per_wallet_max} connections at a time.",
                reason="too_many_connections",
                retry_after_seconds=5.0,
            )

    def _forget(self, subscription: Subscription) -> None:
        subscriptions = self._subscriptions[subscription.wallet_id]
        subscriptions.discard(subscription)
        if not subscriptions:
            del self._subscriptions[subscription.wallet_id]
        self._count -= 1
        if self._count == 0:
            self._empty.set()

    def _all(self) -> list[Subscription]:
        return [subscription for group in self._subscriptions.values() for subscription in group]
