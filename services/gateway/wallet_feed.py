"""Hands each wallet event to the connections of its wallet in this replica.

It also knows how much of a wallet this replica has seen. Redis's history may have lost its tail (Redis was away, or no
replica was running when an event was published); what this replica saw, or asked the ledger for, since it began to read
the topic without a break, it knows for sure.
"""

import asyncio
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from services.gateway.ports import WalletNotice
from services.runtime.errors import RateLimitedError, UnavailableError

WALLETS_REMEMBERED_MAX = 100_000
"""Wallets whose newest sequence is known for sure; about 200 bytes each. Others are asked for anew."""


class Subscription:
    """One connection's place in the feed: a bounded queue of live events."""

    def __init__(self, wallet_id: str, queue_events_max: int) -> None:
        """Begin with an empty queue."""
        self.wallet_id = wallet_id
        self.overflowed = asyncio.Event()
        self.draining = False
        self.continuity_lost = False
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

    def take(self) -> WalletNotice | None:
        """Return the next live event, if there is one."""
        return self._queue.popleft() if self._queue else None

    async def wait(self, timeout_seconds: float) -> None:
        """Wait until there is something to see here, or until the timeout."""
        if self._queue or self.draining or self.continuity_lost:
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
        self._newest_sequences: OrderedDict[str, int] = OrderedDict()
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        self.continuity = 0
        """Rises when events may have passed unseen: what was known for sure before it no longer is."""

    @property
    def connection_count(self) -> int:
        """Tell how many connections there are."""
        return self._count

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
        self.learn(notice.wallet_id, notice.sequence, continuity=self.continuity)
        for subscription in self._subscriptions.get(notice.wallet_id, ()):
            subscription.offer(notice)

    def learn(self, wallet_id: str, sequence: int, *, continuity: int) -> None:
        """Note that the wallet has events up to a sequence, as seen here or as the ledger says.

        Args:
            wallet_id: The wallet.
            sequence: The newest sequence.
            continuity: The feed's `continuity` from before the question; an older one's answer is worth nothing.
        """
        if continuity != self.continuity:
            return
        self._newest_sequences[wallet_id] = max(sequence, self._newest_sequences.get(wallet_id, 0))
        self._newest_sequences.move_to_end(wallet_id)
        while len(self._newest_sequences) > WALLETS_REMEMBERED_MAX:
            self._newest_sequences.popitem(last=False)

    def newest_sequence(self, wallet_id: str) -> int | None:
        """Tell the wallet's newest sequence if this replica knows it for sure."""
        return self._newest_sequences.get(wallet_id)

    def lose_continuity(self) -> None:
        """Note that events may have passed unseen: nothing is known for sure, and each connection has to ask."""
        self.continuity += 1
        self._newest_sequences.clear()
        for subscription in self._all():
            subscription.lose_continuity()

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
