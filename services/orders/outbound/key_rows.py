"""Idempotency keys in a transaction."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from services.orders.domain.request_key import KeyRecord, KeyState, Operation, RequestKey
from services.orders.outbound.buffered_writes import BufferedWrites
from services.orders.outbound.order_mapping import MESSAGE_CHARACTERS_MAX, REASON_CHARACTERS_MAX
from services.runtime.clock import from_micros, to_micros
from services.runtime.database.port import Connection

# Writes the key unless somebody has it. The row's lock makes a second request with the same key wait for the first
# transaction, so that of two at once one finds the other's record.
_CLAIM: Final = """
    INSERT INTO idempotency_keys (user_id, idempotency_key, operation, fingerprint, state, order_id, refund_id,
        lease_expires_at, lease_holder, reason, message, details, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', '', '{}', $10)
    ON CONFLICT (user_id, idempotency_key) DO NOTHING
"""

# Writes a key that nobody has; of one that somebody has, the transaction's end tells.
_ADD: Final = """
    INSERT INTO idempotency_keys (user_id, idempotency_key, operation, fingerprint, state, order_id, refund_id,
        lease_expires_at, lease_holder, reason, message, details, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""

# Locks the key's row.
_LOCK: Final = """
    SELECT operation, fingerprint, state, order_id, refund_id, lease_expires_at, lease_holder, reason, message, details,
        created_at
    FROM idempotency_keys WHERE user_id = $1 AND idempotency_key = $2 FOR UPDATE
"""

_KNOWS: Final = "SELECT 1 AS known FROM idempotency_keys WHERE user_id = $1 AND idempotency_key = $2"

# Only while the request is under way: an answer stays.
_LEASE: Final = """
    UPDATE idempotency_keys SET lease_expires_at = $1, lease_holder = $2
    WHERE user_id = $3 AND idempotency_key = $4 AND state = 'IN_FLIGHT'
"""

# Only one's own: whoever was slower than the lease may have been followed by another request.
_GIVE_BACK: Final = """
    UPDATE idempotency_keys SET lease_expires_at = $1
    WHERE user_id = $2 AND idempotency_key = $3 AND state = 'IN_FLIGHT' AND lease_holder = $4
"""

# The first answer stays.
_ANSWER: Final = """
    UPDATE idempotency_keys SET state = $1, reason = $2, message = $3, details = $4
    WHERE user_id = $5 AND idempotency_key = $6 AND state = $7
"""

# Finds the oldest keys, by their age. Locks nothing: a request that takes one up meanwhile moves its lease.
_OLDEST: Final = """
    SELECT user_id, idempotency_key, lease_expires_at FROM idempotency_keys
    WHERE created_at < $1 AND lease_expires_at < $2
    ORDER BY created_at
    LIMIT $3
"""

# Deletes one, if no request took it up meanwhile.
_FORGET: Final = """
    DELETE FROM idempotency_keys WHERE user_id = $1 AND idempotency_key = $2 AND lease_expires_at = $3
"""


class SqlKeyRows:
    """Fits `KeyRows`."""

    def __init__(self, connection: Connection) -> None:
        """Work in one transaction."""
        self._connection = connection
        self._writes = BufferedWrites(connection)
        self.has_added = False

    async def flush(self) -> None:
        """Hand over what was written; the store does so at the transaction's end."""
        await self._writes.flush()

    async def add(self, record: KeyRecord) -> None:
        """Write a key that nobody has; the transaction fails with `key_known` where somebody does."""
        self.has_added = True
        request = record.request
        row = (
            request.user_id,
            request.key.encode(),
            request.operation.value,
            request.fingerprint,
            record.state.value,
            record.order_id,
            record.refund_id,
            to_micros(record.lease_expires_at),
            record.lease_holder,
            record.reason[:REASON_CHARACTERS_MAX],
            record.message[:MESSAGE_CHARACTERS_MAX],
            json.dumps(dict(record.details)),
            to_micros(record.created_at),
        )
        self._writes.add(_ADD, row)

    async def claim(self, record: KeyRecord) -> KeyRecord | None:
        """Write the key and return None, or lock and return what an earlier request left under it."""
        request = record.request
        written = await self._connection.execute(
            _CLAIM,
            request.user_id,
            request.key.encode(),
            request.operation.value,
            request.fingerprint,
            record.state.value,
            record.order_id,
            record.refund_id,
            to_micros(record.lease_expires_at),
            record.lease_holder,
            to_micros(record.created_at),
        )
        return None if written else await self._lock(request)

    async def knows(self, request: RequestKey) -> bool:
        """Tell, without a lock, whether an earlier request came with this key."""
        return bool(await self._connection.fetch(_KNOWS, request.user_id, request.key.encode()))

    async def lease(self, request: RequestKey, *, holder: UUID, lease_expires_at: datetime) -> None:
        """Begin a new lease of a key that is in flight, whoever held it."""
        self._writes.add(_LEASE, (to_micros(lease_expires_at), holder, request.user_id, request.key.encode()))

    async def give_back(self, request: RequestKey, *, holder: UUID, now: datetime) -> None:
        """End the holder's lease of a key that is in flight; another's stays."""
        self._writes.add(_GIVE_BACK, (to_micros(now), request.user_id, request.key.encode(), holder))

    async def finish(self, request: RequestKey) -> None:
        """Remember that the request was answered."""
        await self._answer(request, KeyState.DONE, "", "", {})

    async def refuse(self, request: RequestKey, reason: str, message: str, details: Mapping[str, str]) -> None:
        """Remember that the request was refused, and why."""
        await self._answer(request, KeyState.REFUSED, reason, message, details)

    async def forget(self, *, created_before: datetime, now: datetime, keys_max: int) -> int:
        """Delete the oldest keys that no request works under; return how many."""
        oldest = await self._connection.fetch(_OLDEST, to_micros(created_before), to_micros(now), keys_max)
        await self._connection.write_at_commit(_FORGET, oldest)
        return len(oldest)

    async def _answer(
        self, request: RequestKey, state: KeyState, reason: str, message: str, details: Mapping[str, str]
    ) -> None:
        answer = (
            state.value,
            reason[:REASON_CHARACTERS_MAX],
            message[:MESSAGE_CHARACTERS_MAX],
            json.dumps(dict(details)),
            request.user_id,
            request.key.encode(),
            KeyState.IN_FLIGHT.value,
        )
        self._writes.add(_ANSWER, answer)

    async def _lock(self, request: RequestKey) -> KeyRecord:
        (
            (operation, fingerprint, state, order_id, refund_id, lease, holder, reason, message, details, created_at),
        ) = await self._connection.fetch(_LOCK, request.user_id, request.key.encode())
        return KeyRecord(
            request=RequestKey(
                user_id=request.user_id,
                key=request.key,
                operation=Operation(operation),
                fingerprint=bytes(fingerprint),
            ),
            state=KeyState(state),
            order_id=order_id,
            refund_id=refund_id,
            created_at=from_micros(created_at),
            lease_expires_at=from_micros(lease),
            lease_holder=holder,
            reason=reason,
            message=message,
            details=json.loads(details),
        )
