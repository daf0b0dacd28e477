"""One connection's story: hello, what it missed, then live events; each once, in order, without a gap.

The subscription comes first and the history second, so that nothing falls between them; what both have is sent once,
by its sequence. What is missing between two events is fetched from the ledger before the second is sent.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

import structlog

from services.gateway.ports import HistoryPage, LedgerPage, WalletEvents, WalletHistory, WalletNotice
from services.gateway.wallet_feed import Subscription, WalletFeed
from services.runtime.backoff import jittered_seconds
from services.runtime.clock import Clock
from services.runtime.errors import TradeFlowError, UnavailableError
from services.runtime.jwt import Principal

logger = structlog.get_logger(__name__)

PAGE_EVENTS = 500
"""Events fetched from the ledger at once."""

FILL_ATTEMPTS_MAX = 6
"""How often a gap is asked for before the client is told to come back: about 5 seconds in all."""

FILL_PAUSE_SECONDS = 0.2
"""The longest first pause between two attempts; each next one is twice as long, with jitter."""

FILL_PAUSE_SECONDS_MAX = 2.0
"""The longest pause between two attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first message: the wallet's newest sequence."""

    wallet_id: str
    last_sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadRequired:
    """What was missed is no longer kept, or what was sent may be lost: the ledger was restored to an earlier moment.

    Read the balance and the statement again, go on from here.
    """

    last_sequence: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The connection is alive."""


@dataclass(frozen=True, slots=True)
class Draining:
    """This replica stops: connect again, another one answers."""


ServerMessage = Hello | ReloadRequired | Heartbeat | Draining | WalletNotice
"""What is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why the server ends a connection: a WebSocket close code and a word."""

    code: int
    reason: str


TOKEN_EXPIRED = Ending(code=3000, reason="token_expired")
"""3000: "Unauthorized" in IANA's registry of close codes."""

TOKEN_REVOKED = Ending(code=3000, reason="token_revoked")
"""Signed out elsewhere."""

SLOW_CONSUMER = Ending(code=3008, reason="slow_consumer")
"""3008: "Timeout" in IANA's registry. The client may come back with the last sequence it saw."""

RESTARTING = Ending(code=1012, reason="draining")
"""1012: "Service Restart"."""

TRY_AGAIN = Ending(code=1013, reason="wallet_events_unavailable")
"""1013: "Try Again Later"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionParts:
    """What every connection of this replica shares."""

    feed: WalletFeed
    history: WalletHistory
    ledger: WalletEvents
    clock: Clock
    is_revoked: Callable[[Principal], Awaitable[bool]]
    heartbeat_seconds: float


class WalletSession:
    """The messages of one connection. `prepare` once, then read `messages` to their end, then look at `ending`."""

    def __init__(
        self, parts: SessionParts, subscription: Subscription, owner: Principal, last_sequence: int | None
    ) -> None:
        """Serve the owner's wallet.

        Args:
            parts: What all connections share.
            subscription: Taken before this.
            owner: Whose wallet; the token is used to ask the ledger.
            last_sequence: The last one that the client has; None for live events only.
        """
        self._parts = parts
        self._subscription = subscription
        self._owner = owner
        self._asked_sequence = last_sequence
        self._newest = 0
        self._sent = 0
        self._early: tuple[WalletNotice, ...] = ()
        self._reload = False
        self._next_beat_seconds = time.monotonic() + parts.heartbeat_seconds
        self.ending: Ending | None = None

    @property
    def position(self) -> int:
        """Tell what a client that leaves now should come back with."""
        return self._sent

    async def prepare(self) -> None:
        """Find out where the wallet is and what this client missed.

        Raises:
            UnavailableError: Neither the history nor the ledger can tell.
        """
        known = self._parts.feed.newest_sequence(self._owner.subject)
        page = await self._read_history()
        if known is None or known > page.newest_sequence:
            await self._prepare_from_ledger(page)
            if self._newest < page.newest_sequence:
                await self._begin_anew(self._newest)
                self._early, self._reload = (), self._asked_sequence is not None
        else:
            self._newest = page.newest_sequence
            self._early = page.notices
        if self._asked_sequence is None:
            self._sent = self._newest
            return
        self._sent = self._asked_sequence
        if self._asked_sequence > self._newest and not self._reload:
            await self._judge_client_ahead(self._asked_sequence)

    async def messages(self) -> AsyncGenerator[ServerMessage, None]:
        """Yield what to send; ends when the server ends the connection."""
        yield Hello(wallet_id=self._owner.subject, last_sequence=self._newest)
        if self._reload:
            self._sent = self._newest
            yield ReloadRequired(last_sequence=self._newest)
        for notice in self._contiguous(self._early):
            self._sent = notice.sequence
            yield notice
        self._early = ()
        async for message in self._fill(self._newest):
            yield message
        while self.ending is None:
            async for message in self._live():
                yield message

    async def _live(self) -> AsyncGenerator[ServerMessage, None]:
        """Yield what comes next: the end, a heartbeat, a live event with the gap before it, or nothing yet."""
        left_seconds = (self._owner.expires_at - self._parts.clock.now()).total_seconds()
        beat_in_seconds = self._next_beat_seconds - time.monotonic()
        if left_seconds <= 0:
            self.ending = TOKEN_EXPIRED
        elif self._subscription.draining:
            self.ending = RESTARTING
            yield Draining()
        elif beat_in_seconds <= 0:
            self._next_beat_seconds = time.monotonic() + self._parts.heartbeat_seconds
            if await self._is_revoked():
                self.ending = TOKEN_REVOKED
            else:
                yield Heartbeat()
        elif self._subscription.continuity_lost:
            self._subscription.continuity_lost = False
            async for message in self._fill(None):
                yield message
        elif (sequence := self._subscription.begins_anew_at) is not None:
            self._subscription.begins_anew_at = None
            self._sent = sequence
            yield ReloadRequired(last_sequence=sequence)
        elif (notice := self._subscription.take()) is not None:
            async for message in self._event(notice):
                yield message
        else:
            await self._subscription.wait(min(beat_in_seconds, left_seconds))

    async def _event(self, notice: WalletNotice) -> AsyncGenerator[ServerMessage, None]:
        async for message in self._fill(notice.sequence - 1):
            yield message
        if self.ending is None and notice.sequence > self._sent:
            self._sent = notice.sequence
            yield notice

    async def _fill(self, up_to: int | None) -> AsyncGenerator[ServerMessage, None]:
        """Yield what the ledger has after what was sent, up to a sequence, or all of it."""
        while self.ending is None and (up_to is None or self._sent < up_to):
            page = await self._ask_ledger_patiently(must_have_more=up_to is not None)
            if page is None:
                self.ending = TRY_AGAIN
                return
            if page.reload_required and page.last_sequence != self._sent:
                if page.last_sequence < self._sent:
                    await self._begin_anew(page.last_sequence)
                self._sent = page.last_sequence
                yield ReloadRequired(last_sequence=page.last_sequence)
                continue
            news = self._contiguous(page.notices)
            if not news and up_to is None:
                return
            if not news:
                # The ledger has more and doesn't show it: better an honest end than a gap or a busy loop.
                logger.error("wallet_events_have_a_hole", wallet_id=self._owner.subject, after_sequence=self._sent)
                self.ending = TRY_AGAIN
                return
            for notice in news:
                self._sent = notice.sequence
                yield notice

    async def _ask_ledger_patiently(self, *, must_have_more: bool) -> LedgerPage | None:
        for attempt in range(FILL_ATTEMPTS_MAX):
            if attempt:
                await asyncio.sleep(_pause_seconds(attempt - 1))
            try:
                page = await self._ask_ledger(self._sent, PAGE_EVENTS)
            except TradeFlowError as error:
                logger.warning("wallet_events_not_fetched", wallet_id=self._owner.subject, error=error.reason)
                continue
            if page.reload_required or page.notices or not must_have_more:
                return page
        return None

    async def _ask_ledger(self, after_sequence: int, page_size: int) -> LedgerPage:
        continuity = self._parts.feed.continuity
        page = await self._parts.ledger.list_wallet_events(
            self._owner, after_sequence=after_sequence, page_size=page_size
        )
        self._parts.feed.learn(self._owner.subject, page.last_sequence, continuity=continuity)
        self._see(page.notices)
        return page

    async def _read_history(self) -> HistoryPage:
        try:
            page = await self._parts.history.read(self._owner.subject, after_sequence=self._asked_sequence)
        except UnavailableError:
            return HistoryPage(newest=None, notices=())
        self._see((page.newest,) if page.newest else ())
        return page

    def _see(self, notices: tuple[WalletNotice, ...]) -> None:
        for notice in notices[-1:]:
            self._parts.feed.see(notice)

    async def _prepare_from_ledger(self, page: HistoryPage) -> None:
        """The history may have lost its tail, or all: let the ledger tell what comes after its sound part."""
        if self._asked_sequence is None:
            newest = await self._ask_ledger(page.newest_sequence, 1)
            self._newest = newest.last_sequence
            return
        self._sent = self._asked_sequence
        sound = tuple(self._contiguous(page.notices))
        after_sequence = sound[-1].sequence if sound else self._asked_sequence
        rest = await self._ask_ledger(after_sequence, PAGE_EVENTS)
        self._newest = rest.last_sequence
        if rest.reload_required:
            self._reload = not sound
            self._early = sound
        else:
            self._early = sound + rest.notices

    async def _judge_client_ahead(self, asked_sequence: int) -> None:
        """Let the ledger judge a sequence that nobody here has seen: another replica was quicker, or it is wrong."""
        page = await self._ask_ledger(asked_sequence, 1)
        self._newest = page.last_sequence
        self._reload = page.last_sequence < asked_sequence

    def _contiguous(self, notices: tuple[WalletNotice, ...]) -> list[WalletNotice]:
        """Keep what follows the last event sent without a hole."""
        kept: list[WalletNotice] = []
        expected = self._sent + 1
        for notice in notices:
            if notice.sequence == expected:
                kept.append(notice)
                expected += 1
            elif notice.sequence > expected:
                break
        return kept

    async def _begin_anew(self, last_sequence: int) -> None:
        """Let everybody know that the ledger has less than it had: it was restored to an earlier moment."""
        with contextlib.suppress(UnavailableError):
            await self._parts.history.forget(self._owner.subject)
        self._parts.feed.begin_anew(self._owner.subject, last_sequence)
        self._subscription.begins_anew_at = None  # this client is told by who calls this

    async def _is_revoked(self) -> bool:
        try:
            return await self._parts.is_revoked(self._owner)
        except UnavailableError:
            return False


def _pause_seconds(attempt: int) -> float:
    return jittered_seconds(attempt, first_seconds=FILL_PAUSE_SECONDS, longest_seconds=FILL_PAUSE_SECONDS_MAX)
