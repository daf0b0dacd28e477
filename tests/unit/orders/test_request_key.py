"""What a repeated Idempotency-Key may be, without a store."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.orders.domain.request_key import KeyRecord, KeyState, Operation, RequestKey, request_for_order
from services.runtime.errors import ConflictError, KeyReusedError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORDER = UUID(int=1)


def a_request(operation: Operation, order_id: UUID = ORDER) -> RequestKey:
    return request_for_order(operation, user_id=UUID(int=2), key="k", order_id=order_id)


def a_record(state: KeyState = KeyState.DONE) -> KeyRecord:
    return KeyRecord(
        request=a_request(Operation.CONFIRM),
        state=state,
        order_id=ORDER,
        refund_id=None,
        created_at=NOW,
        lease_expires_at=NOW + timedelta(seconds=30),
    )


def test_a_key_that_confirmed_an_order_confirms_no_other_and_cancels_none() -> None:
    a_record().check_same(a_request(Operation.CONFIRM))

    for other in (a_request(Operation.CANCEL), a_request(Operation.CONFIRM, UUID(int=7))):
        with pytest.raises(KeyReusedError):
            a_record().check_same(other)


def test_a_key_is_free_from_the_moment_in_which_its_lease_ends() -> None:
    record = a_record(KeyState.IN_FLIGHT)

    with pytest.raises(ConflictError) as refused:
        record.check_free(NOW + timedelta(seconds=30, microseconds=-1))
    record.check_free(NOW + timedelta(seconds=30))

    assert refused.value.reason == "request_in_flight"
