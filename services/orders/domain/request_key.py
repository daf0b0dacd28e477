"""One key, one effect, one answer: what is remembered of a request that carries an Idempotency-Key.

A key belongs to a user and to one content. While a request works under it, it holds a lease, so that a crash frees the
key; whoever comes after that goes on where the first stopped.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from services.runtime.errors import ConflictError, KeyReusedError, RefusedError


class Operation(Enum):
    """What a key was used for."""

    PLACE = "place"
    CONFIRM = "confirm"
    CANCEL = "cancel"
    REFUND = "refund"


class KeyState(Enum):
    """What became of the request."""

    IN_FLIGHT = "IN_FLIGHT"
    DONE = "DONE"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """A user's key and what it stands for."""

    user_id: UUID
    key: str
    operation: Operation
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """What is known of a key; `order_id` and `refund_id` say what the request works on, `lease_holder` which one does.

    Each request is a holder of its own, also where two have the same key. None: code that knew no holders wrote it.
    """

    request: RequestKey
    state: KeyState
    order_id: UUID
    refund_id: UUID | None
    created_at: datetime
    lease_expires_at: datetime
    lease_holder: UUID | None
    reason: str = ""
    message: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    def check_same(self, request: RequestKey) -> None:
        """Let a repetition of the same request pass.

        Raises:
            KeyReusedError: The content is another.
        """
        if (self.request.operation, self.request.fingerprint) != (request.operation, request.fingerprint):
            raise KeyReusedError("This Idempotency-Key was used for another request.")

    def check_free(self, now: datetime, *, holder: UUID) -> None:
        """Let the next one take over from a request that is over or was given up, and the holder of the lease go on.

        Raises:
            ConflictError: `request_in_flight`: the first one still works.
        """
        is_others = self.lease_holder != holder and now < self.lease_expires_at
        if self.state is KeyState.IN_FLIGHT and is_others:
            raise ConflictError("The first request with this key is still under way.", reason="request_in_flight")

    def check_not_refused(self) -> None:
        """Give the first answer again, if it was a refusal.

        Raises:
            RefusedError: With the reason, message and details of the first time.
        """
        if self.state is KeyState.REFUSED:
            refusal = RefusedError(self.message, reason=self.reason, details=self.details)
            refusal.replayed = True
            raise refusal


def fingerprint_of(content: Any) -> bytes:
    """Hash the content of a request (what JSON can say), whatever the order of its fields was."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).digest()


def request_for_order(operation: Operation, *, user_id: UUID, key: str, order_id: UUID) -> RequestKey:
    """Tell what a key stands for where the request names an order and nothing else."""
    return RequestKey(
        user_id=user_id, key=key, operation=operation, fingerprint=fingerprint_of({"order_id": str(order_id)})
    )
