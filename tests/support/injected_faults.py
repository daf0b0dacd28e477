"""What goes wrong by a seed: the ledger's answers and the database's transactions, and whom each error may be told.

Each error is an object of its own, and remembers the requests whose transaction it ended: nobody else may hear of it.
"""

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Final, TypeVar
from uuid import UUID

from services.orders.domain.hold import Hold
from services.orders.domain.order import Order
from services.orders.domain.refund import Refund
from services.orders.domain.request_key import KeyRecord, RequestKey
from services.orders.ports import KeyRows, Rows, Store
from services.runtime.errors import RefusedError, UnavailableError
from tests.support.fake_ledger import FakeLedger

T = TypeVar("T")
KeyOfUser = tuple[UUID, str]

ROLLED_BACK: Final = "rolled back"
COMMITTED: Final = "committed"

TRANSACTION_FAULTS: Final = (
    ("database_busy", ROLLED_BACK),
    ("database_busy", ROLLED_BACK),
    ("database_unreachable", ROLLED_BACK),
    ("transaction_outcome_unknown", ROLLED_BACK),
    ("transaction_outcome_unknown", COMMITTED),
    ("bug", ROLLED_BACK),
)
"""How a transaction ends, and whether it committed; deadlocks are the most frequent."""

LEDGER_FAULTS: Final = ("ledger_unavailable", "outcome_unknown", "refusal")
"""It isn't reached; it did what was asked, and the answer is lost; it says no."""


class InjectedBug(Exception):  # noqa: N818 - what it stands for is a bug
    """What nobody foresaw, and no caller can act on."""


class Faults:
    """Draws by a seed what goes wrong at each point, and how often."""

    def __init__(self, random: Random, *, share: float) -> None:
        """Let so much of all points fail."""
        self._random = random
        self._share = share
        self._may_be_told: dict[int, set[KeyOfUser]] = {}
        self._errors: list[Exception] = []

    def draw(self, faults: tuple[T, ...]) -> T | None:
        """Choose one of the faults, or none."""
        return self._random.choice(faults) if self._random.random() < self._share else None

    def error(self, reason: str, keys: set[KeyOfUser]) -> Exception:
        """Make the error that ends the transaction of these requests."""
        error = InjectedBug("bug") if reason == "bug" else UnavailableError("injected", reason=reason)
        self._errors.append(error)  # kept, so that nothing else has its identity
        self._may_be_told[id(error)] = keys
        return error

    def check_told(self, key: KeyOfUser, error: Exception) -> None:
        """Check that somebody who was told of an error took part in what it ended.

        Batches work under keys; what works under none is one caller's own.
        """
        keys = self._may_be_told.get(id(error))
        assert not keys or key in keys, f"{key[1]} is told what isn't its own: {error!r}"


class FaultyStore:
    """A store whose transactions end in an error at times, before or after they committed."""

    def __init__(self, store: Store, faults: Faults) -> None:
        """Pass transactions on."""
        self._store = store
        self._faults = faults

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Rows]:
        fault = self._faults.draw(TRANSACTION_FAULTS)
        if fault is None:
            async with self._store.transaction() as rows:
                yield rows
            return
        at_work: set[KeyOfUser] = set()
        error = self._faults.error(fault[0], at_work)
        async with self._store.transaction() as rows:
            yield replace(rows, keys=_NotedKeys(rows.keys, at_work))
            if fault[1] == ROLLED_BACK:
                raise error
        raise error


class _NotedKeys:
    """Keys that note whose requests a transaction works on."""

    def __init__(self, keys: KeyRows, at_work: set[KeyOfUser]) -> None:
        self._keys = keys
        self._at_work = at_work

    async def add(self, record: KeyRecord) -> None:
        self._note(record.request)
        await self._keys.add(record)

    async def claim(self, record: KeyRecord) -> KeyRecord | None:
        self._note(record.request)
        return await self._keys.claim(record)

    async def knows(self, request: RequestKey) -> bool:
        return await self._keys.knows(request)

    async def lease(self, request: RequestKey, *, holder: UUID, lease_expires_at: datetime) -> None:
        self._note(request)
        await self._keys.lease(request, holder=holder, lease_expires_at=lease_expires_at)

    async def give_back(self, request: RequestKey, *, holder: UUID, now: datetime) -> None:
        self._note(request)
        await self._keys.give_back(request, holder=holder, now=now)

    async def finish(self, request: RequestKey) -> None:
        self._note(request)
        await self._keys.finish(request)

    async def refuse(self, request: RequestKey, reason: str, message: str, details: Mapping[str, str]) -> None:
        self._note(request)
        await self._keys.refuse(request, reason, message, details)

    async def forget(self, *, created_before: datetime, now: datetime, keys_max: int) -> int:
        return await self._keys.forget(created_before=created_before, now=now, keys_max=keys_max)

    def _note(self, request: RequestKey) -> None:
        self._at_work.add((request.user_id, request.key))


class FaultyLedger:
    """A ledger that isn't reached at times, or whose answer is lost, or that refuses to hold money."""

    def __init__(self, bank: FakeLedger, faults: Faults) -> None:
        """Pass calls on."""
        self._bank = bank
        self._faults = faults

    def check_there(self) -> None:
        self._bank.check_there()

    async def reserve_funds(self, order: Order, *, buyer_token: str, expires_at: datetime) -> Hold:
        fault = self._faults.draw(LEDGER_FAULTS)
        if fault == "refusal" and order.order_id not in self._bank.holds:
            refusal = RefusedError("The wallet is frozen.", reason="account_frozen")
            self._bank.refusals.setdefault(str(order.order_id), refusal)
        return await self._call(
            self._bank.reserve_funds(order, buyer_token=buyer_token, expires_at=expires_at), fault=fault
        )

    async def commit_hold(self, order: Order) -> Hold:
        return await self._call(self._bank.commit_hold(order), fault=self._faults.draw(LEDGER_FAULTS))

    async def void_hold(self, order_id: UUID, *, buyer_id: UUID) -> Hold:
        return await self._call(
            self._bank.void_hold(order_id, buyer_id=buyer_id), fault=self._faults.draw(LEDGER_FAULTS)
        )

    async def refund_capture(self, order: Order, refund: Refund) -> Hold:
        return await self._call(self._bank.refund_capture(order, refund), fault=self._faults.draw(LEDGER_FAULTS))

    async def find_hold(self, order_id: UUID) -> Hold | None:
        return await self._call(self._bank.find_hold(order_id), fault=self._faults.draw(LEDGER_FAULTS))

    async def find_holds(self, order_ids: Sequence[UUID]) -> dict[UUID, Hold]:
        return await self._call(self._bank.find_holds(order_ids), fault=self._faults.draw(LEDGER_FAULTS))

    async def _call(self, call: Awaitable[T], *, fault: str | None) -> T:
        if fault == "ledger_unavailable":
            call.close()  # type: ignore[attr-defined]  # the coroutine that never ran
            raise UnavailableError("injected", reason="ledger_unavailable")
        answer = await call
        if fault == "outcome_unknown":
            raise UnavailableError("injected", reason="deadline_exceeded")
        return answer
