"""Who leads: a Lease of our own in coordination.k8s.io, as client-go's leader election has it.

A candidate never compares its wall clock with another's: it takes the lease over once it has seen the same record for
as long as the record says that it lasts. A leader stops to write `fence.MARGIN_SECONDS` before that can happen.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from tradeflow_operator.clients.fence import Fence
from tradeflow_operator.clients.kubernetes import KubernetesClient, object_path
from tradeflow_operator.errors import OperatorError

logger = structlog.get_logger(__name__)

_API = "apis/coordination.k8s.io/v1"


class Leadership:
    """Takes the lease, renews it, and opens the fence for as long as it holds."""

    def __init__(
        self,
        kubernetes: KubernetesClient,
        fence: Fence,
        *,
        namespace: str,
        name: str,
        identity: str,
        lease_seconds: int,
        renew_seconds: float,
        on_taken: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            kubernetes: A client whose fence is open: the lease itself is written without one.
            fence: What is opened and closed.
            namespace: Where the Lease lives.
            name: The Lease's name.
            identity: Who this process is; no other may have the same.
            lease_seconds: How long a record holds.
            renew_seconds: How often it is renewed, and how often candidates look.
            on_taken: Called each time that the lease becomes ours.
            clock: The fence's clock.
        """
        self._kubernetes = kubernetes
        self._fence = fence
        self._path = object_path(_API, "leases", namespace, name)
        self._collection = object_path(_API, "leases", namespace)
        self._name = name
        self._identity = identity
        self._lease_seconds = lease_seconds
        self._renew_seconds = renew_seconds
        self._on_taken = on_taken
        self._clock = clock
        self._seen: tuple[Any, float] | None = None
        self._gained = asyncio.Event()

    @property
    def leads(self) -> bool:
        """Whether this process may write now."""
        return self._fence.is_open

    async def wait_until_leading(self) -> None:
        """Wait until this process may write."""
        while not self._fence.is_open:
            self._gained.clear()
            await self._gained.wait()

    async def keep(self) -> None:
        """Take and renew the lease for ever; cancel to stop."""
        while True:
            await self.try_once()
            await asyncio.sleep(self._renew_seconds)

    async def try_once(self) -> None:
        """Take or renew the lease, if it can be had."""
        try:
            held_until = await self._take_or_renew()
        except OperatorError as error:
            # What was held is held until its deadline: the fence closes by itself.
            logger.warning("lease_not_written", reason=error.reason, problem=error.message)
            return
        if held_until is not None:
            self._open(held_until)
        else:
            self._fence.close()

    async def give_up(self) -> None:
        """Let the next one lead at once; called when stopping, after the last write."""
        led = self._fence.is_open
        self._fence.close()
        if not led:
            return
        try:
            lease = await self._kubernetes.read(self._path)
            if lease is not None and lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
                await self._kubernetes.replace(self._path, lease)
        except OperatorError as error:
            logger.warning("lease_not_given_up", reason=error.reason, problem=error.message)

    def _open(self, held_until: float) -> None:
        newly = not self._fence.is_open
        self._fence.open_until(held_until)
        if newly:
            logger.info("lease_taken", identity=self._identity)
            self._on_taken()
        self._gained.set()

    async def _take_or_renew(self) -> float | None:
        """Return until when the lease is ours by the monotonic clock, or None when another has it."""
        lease = await self._kubernetes.read(self._path)
        # Read before the write starts: the record can't have been written sooner.
        held_until = self._clock() + self._lease_seconds
        if lease is None:
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self._name}}
            await self._kubernetes.create(self._collection, {**body, "spec": self._record(None)})
            return held_until
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") != self._identity and not self._is_over(spec):
            return None
        # The resource version of the read object goes back with it: of two that try, one gets a conflict.
        await self._kubernetes.replace(self._path, {**lease, "spec": self._record(spec)})
        return held_until

    def _is_over(self, spec: Mapping[str, Any]) -> bool:
        if not spec.get("holderIdentity"):
            return True
        record = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        now = self._clock()
        if self._seen is None or self._seen[0] != record:
            self._seen = (record, now)
            return False
        return now - self._seen[1] >= float(spec.get("leaseDurationSeconds") or self._lease_seconds)

    def _record(self, before: Mapping[str, Any] | None) -> dict[str, Any]:
        now = _now()
        ours = before is not None and before.get("holderIdentity") == self._identity
        transitions = int((before or {}).get("leaseTransitions") or 0)
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._lease_seconds,
            "acquireTime": before["acquireTime"] if ours and before and "acquireTime" in before else now,
            "renewTime": now,
            "leaseTransitions": transitions if ours or before is None else transitions + 1,
        }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
