"""What authors of clients are told of wallet events, against what clients get."""

import json
import re
from pathlib import Path

import msgspec
from google.protobuf.descriptor import FieldDescriptor

from services.gateway import wallet_session
from services.gateway.inbound.delivery import message_type
from services.gateway.inbound.wallet_event_json import event_json
from services.gateway.ports import WalletNotice
from services.gateway.wallet_session import Draining, Ending, Heartbeat, Hello, ReloadRequired
from tradeflow.common.v1.money_pb2 import Money
from tradeflow.common.v1.wallet_pb2 import Balance
from tradeflow.events.v1 import wallet_event_pb2 as events

DOCUMENT = (Path(__file__).parents[3] / "docs/wallet-events.md").read_text()


def rows(header: str) -> list[list[str]]:
    """Read the table with this header: each row's cells."""
    table = DOCUMENT.split(header, 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


def words(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def field_names(fact: FieldDescriptor) -> set[str]:
    message_type = fact.message_type
    assert message_type is not None
    return {field.name for field in message_type.fields}


def test_each_kind_of_fact_is_told_with_its_fields() -> None:
    told = {kind: words(fact) for kinds, _, fact in rows("| kind |") for kind in words(kinds)}

    facts = events.WalletEvent.DESCRIPTOR.oneofs_by_name["fact"].fields
    assert told == {fact.name: field_names(fact) for fact in facts}


def test_each_type_of_message_is_told() -> None:
    notice = WalletNotice(wallet_id="w", sequence=1, recorded_at_micros=0, payload=b"")
    messages = (Hello(wallet_id="w", last_sequence=0), notice, ReloadRequired(last_sequence=0), Heartbeat(), Draining())

    assert [cell for cell, _ in rows("| type |")] == [f"`{message_type(message)}`" for message in messages]


def test_each_ending_is_told() -> None:
    told = {(int(code), reason) for code, reasons, _ in rows("| code |") for reason in words(reasons)}

    endings = {(one.code, one.reason) for one in vars(wallet_session).values() if isinstance(one, Ending)}
    assert endings == told


def test_the_example_is_an_event_as_clients_get_it() -> None:
    example = re.search(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert example is not None
    told = json.loads(example[1])

    event = events.WalletEvent(
        event_id=told["event"]["event_id"],
        wallet_id=told["event"]["wallet_id"],
        sequence=42,
        journal_sequence=1017,
        balance=Balance(
            wallet_id=told["event"]["wallet_id"],
            currency="EUR",
            posted_minor=5_000,
            available_minor=5_000,
            account_sequence=9,
        ),
        funds_deposited=events.FundsDeposited(amount=Money(amount_minor=5_000, currency="EUR")),
    )
    event.recorded_at.FromJsonString(told["event"]["recorded_at"])
    assert msgspec.json.decode(event_json(event.SerializeToString())) == told
