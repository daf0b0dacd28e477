"""What a repeated Idempotency-Key may be, without a store."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.orders.domain.request_key import KeyRecord, KeyState, Operation, RequestKey, request_for_order
from services.runtime.errors import ConflictError, KeyReusedError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORDER = UUID(int=1)
FIRST, SECOND = UUID(int=3), UUID(int=4)


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
        lease_holder=FIRST,
    )


def test_a_key_that_confirmed_an_order_confirms_no_other_and_cancels_none() -> None:
    a_record().check_same(a_request(Operation.CONFIRM))

    for other in (a_request(Operation.CANCEL), a_request(Operation.CONFIRM, UUID(int=7))):
        with pytest.raises(KeyReusedError):
            a_record().check_same(other)


def test_a_key_is_free_from_the_moment_in_which_its_lease_ends() -> None:
    record = a_record(KeyState.IN_FLIGHT)

    with pytest.raises(ConflictError) as refused:
        record.check_free(NOW + timedelta(seconds=30, microseconds=-1), holder=SECOND)
    record.check_free(NOW + timedelta(seconds=30), holder=SECOND)

    assert refused.value.reason == "request_in_flight"


def test_a_lease_keeps_its_holder_from_nothing() -> None:
    a_record(KeyState.IN_FLIGHT).check_free(NOW, holder=FIRST)


def test_a_lease_that_names_nobody_keeps_everybody_away() -> None:
    record = replace(a_record(KeyState.IN_FLIGHT), lease_holder=None)

    with pytest.raises(ConflictError):
        record.check_free(NOW, holder=FIRST)
