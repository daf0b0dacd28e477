"""A wallet event as browsers get it."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from services.gateway.inbound.delivery import last_sequence_of, message_json
from services.gateway.inbound.wallet_event_json import MalformedEventError, event_json, notice_of
from services.gateway.wallet_session import Draining, Heartbeat, Hello, ReloadRequired
from services.runtime.errors import InvalidArgumentError
from tradeflow.common.v1.money_pb2 import Money
from tradeflow.common.v1.wallet_pb2 import HOLD_STATE_CAPTURED, Hold
from tradeflow.events.v1 import wallet_event_pb2 as events

FACTS = events.WalletEvent.DESCRIPTOR.oneofs_by_name["fact"].fields


def rendered(**fact: Any) -> dict[str, Any]:
    event = events.WalletEvent(event_id="e1", wallet_id="w1", sequence=1, **fact)
    content: dict[str, Any] = msgspec.json.decode(event_json(event.SerializeToString()))
    return dict(content["event"])


def test_a_capture_shows_the_hold_with_its_order_and_all_amounts_as_money() -> None:
    hold = Hold(
        hold_id="o1",
        wallet_id="w1",
        currency="JPY",
        state=HOLD_STATE_CAPTURED,
        held_minor=2**53 - 1,
        captured_minor=7,
    )
    event = rendered(
        funds_captured=events.FundsCaptured(hold=hold, amount=Money(amount_minor=7, currency="JPY"), capture_number=1)
    )

    assert event["kind"] == "funds_captured"
    assert event["fact"] == {
        "order_id": "o1",
        "amount": {"amount_minor": 7, "currency": "JPY"},
        "capture_number": 1,
        "hold": {
            "hold_id": "o1",
            "order_id": "o1",
            "wallet_id": "w1",
            "currency": "JPY",
            "state": "captured",
            "held": {"amount_minor": 2**53 - 1, "currency": "JPY"},
            "captured": {"amount_minor": 7, "currency": "JPY"},
            "voided": {"amount_minor": 0, "currency": "JPY"},
            "remaining": {"amount_minor": 0, "currency": "JPY"},
            "refunded": {"amount_minor": 0, "currency": "JPY"},
            "expires_at": None,
        },
    }


def test_a_refusal_names_the_order_and_has_no_balance() -> None:
    refused = events.SettlementRefused(hold_id="o1", capture_number=2, reason="hold_expired", message="Too late.")

    event = rendered(settlement_refused=refused)

    assert event["balance"] is None
    assert event["fact"] == {
        "hold_id": "o1",
        "order_id": "o1",
        "capture_number": 2,
        "reason": "hold_expired",
        "message": "Too late.",
    }


def test_what_moves_without_an_order_is_shown_with_its_sign() -> None:
    out = rendered(funds_transferred=events.FundsTransferred(amount=Money(amount_minor=-70, currency="EUR")))
    undone = rendered(
        record_reversed=events.RecordReversed(journal_sequence=9, amount=Money(amount_minor=70, currency="EUR"))
    )

    assert out["fact"] == {"amount": {"amount_minor": -70, "currency": "EUR"}}
    assert undone["fact"] == {"journal_sequence": 9, "amount": {"amount_minor": 70, "currency": "EUR"}}


def test_a_limit_is_shown_with_the_one_before_it() -> None:
    event = rendered(limit_changed=events.LimitChanged(previous_overdraft_limit_minor=500))

    assert event["fact"] == {"previous_overdraft_limit_minor": 500}


def test_what_a_seller_owes_is_shown_where_there_is_something() -> None:
    gross, nothing_owed = Money(amount_minor=400, currency="EUR"), events.RefundDebited(hold_id="o1", capture_number=1)
    owed = events.RefundDebited(hold_id="o1", gross=gross, receivable=Money(amount_minor=315, currency="EUR"))

    assert rendered(refund_debited=owed)["fact"]["receivable"] == {"amount_minor": 315, "currency": "EUR"}
    assert rendered(refund_debited=nothing_owed)["fact"]["receivable"] is None


@pytest.mark.parametrize("kind", [field.name for field in FACTS])
def test_each_kind_of_fact_is_json_with_its_own_name(kind: str) -> None:
    fact_class = type(getattr(events.WalletEvent(), kind))

    event = rendered(**{kind: fact_class()})

    assert event["kind"] == kind
    assert isinstance(event["fact"], dict)


def test_a_kind_that_a_newer_ledger_has_still_counts() -> None:
    newer = events.WalletEvent(wallet_id="w1", sequence=3).SerializeToString() + b"\xfa\x07\x00"

    notice = notice_of(newer)
    assert notice is not None
    assert notice.sequence == 3
    assert msgspec.json.decode(event_json(newer))["event"]["kind"] == "unknown"


def test_an_instant_is_utc_with_microseconds() -> None:
    event = events.WalletEvent(wallet_id="w1", sequence=1, account_opened=events.AccountOpened())
    event.recorded_at.FromDatetime(datetime(2026, 3, 1, 12, 0, 0, 42, tzinfo=UTC))

    assert '"recorded_at":"2026-03-01T12:00:00.000042Z"' in event_json(event.SerializeToString())


@pytest.mark.parametrize("payload", [b"\xff", b"", events.WalletEvent(wallet_id="w1").SerializeToString()])
def test_bytes_that_are_no_event_are_refused(payload: bytes) -> None:
    with pytest.raises(MalformedEventError):
        notice_of(payload)


def test_a_refusal_for_a_wallet_without_an_account_has_no_number_and_is_no_malformed_event() -> None:
    refused = events.WalletEvent(wallet_id="w1", settlement_refused=events.SettlementRefused(reason="account_not_open"))

    assert notice_of(refused.SerializeToString()) is None


def test_messages_have_the_types_that_clients_know() -> None:
    assert message_json(Hello(wallet_id="w1", last_sequence=7)) == '{"type":"hello","wallet_id":"w1","last_sequence":7}'
    assert message_json(ReloadRequired(last_sequence=7)) == '{"type":"reload_required","last_sequence":7}'
    assert message_json(Heartbeat()) == '{"type":"heartbeat"}'
    assert message_json(Draining()) == '{"type":"draining"}'


def test_a_last_sequence_is_a_whole_number_that_json_carries() -> None:
    assert [last_sequence_of(text) for text in (None, "0", "12", str(2**53 - 1))] == [None, 0, 12, 2**53 - 1]
    for text in ("", "-1", "1e3", " 1", "٣", str(2**53), "9" * 400):
        with pytest.raises(InvalidArgumentError):
            last_sequence_of(text)
