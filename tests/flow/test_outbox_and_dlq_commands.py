"""`tradeflow outbox` and `dlq` say so where what they are asked for isn't there, instead of showing nothing."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.embedded.cli import app
from services.embedded.commands.dlq import CONSUMERS
from services.embedded.data_folder import DataFolder
from services.runtime.broker.port import ReceivedMessage
from services.runtime.broker.sqlite import SqliteBroker
from services.runtime.dead_letters import letter_for, published
from tests.support.ledger_proof import some_trade, trade_in

TOPICS = ("order-events", "wallet-events")

LETTER = "orders:wallet-events/0/17"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ledger's database with events that wait, and a broker without letters."""
    trade_in(tmp_path, some_trade())

    async def make_broker() -> None:
        broker = SqliteBroker(DataFolder(tmp_path).broker_file)
        await broker.ensure_topics([f"{topic}{suffix}" for topic in TOPICS for suffix in ("", ".dlq")])
        await broker.close()

    asyncio.run(make_broker())
    return tmp_path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_stream_that_there_is_not_is_told_with_those_that_there_are(folder: Path) -> None:
    told = call("outbox", "show", "boook:1", "--data", folder)

    assert told.exit_code == 2
    assert "the outbox of ledger has no stream 'boook:1'; there is: book:1" in told.output


def test_an_outbox_without_a_stream_says_that_it_has_none_yet(tmp_path: Path) -> None:
    trade_in(tmp_path, [])

    told = call("outbox", "show", "book:1", "--data", tmp_path)

    assert told.exit_code == 2
    assert "it has none yet" in told.output


@pytest.mark.parametrize(
    ("options", "hint"), [((), "with --after 0"), (("--after", 3), "is kept in book:1 behind number 3")]
)
def test_a_key_of_which_there_is_no_event_is_told(folder: Path, options: tuple[object, ...], hint: str) -> None:
    told = call("outbox", "show", "book:1", "--key", "nobody", "--data", folder, *options)

    assert told.exit_code == 2
    assert "no event of key 'nobody'" in told.output
    assert hint in told.output


def test_the_events_of_a_key_are_those_of_the_stream_that_have_it(folder: Path) -> None:
    everything = json.loads(call("outbox", "show", "book:1", "--data", folder, "--json").stdout)["events"]
    key = everything[0]["key"]

    of_key = call("outbox", "show", "book:1", "--key", key, "--data", folder, "--json")

    assert of_key.exit_code == 0
    assert json.loads(of_key.stdout)["events"] == [event for event in everything if event["key"] == key]


def test_a_databases_url_without_its_service_is_not_passed_over(folder: Path) -> None:
    told = call("outbox", "status", "--database-url", f"sqlite:///{folder}/ledger.db")

    assert told.exit_code == 2
    assert "--service" in told.output


@pytest.mark.parametrize(
    "command", ["show", "redrive --letter", "redrive --dry-run --letter", "discard --yes --letter"]
)
def test_a_letter_that_does_not_wait_is_told(folder: Path, command: str) -> None:
    told = call("dlq", *command.split(), LETTER, "--data", folder)

    assert told.exit_code == 2
    assert f"no letter {LETTER} waits; `tradeflow dlq list` names those that do" in told.output


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_a_letter_is_found_by_the_name_that_the_list_gives_it(folder: Path, consumer: str) -> None:
    asyncio.run(put_aside(folder, consumer))
    (name,) = [one["letter"] for one in json.loads(call("dlq", "list", "--data", folder, "--json").stdout)["letters"]]

    shown = call("dlq", "show", name, "--data", folder)
    found = call("dlq", "list", "--consumer", consumer, "--data", folder)
    discarded = call("dlq", "discard", "--letter", name, "--data", folder, "--yes", "--json")

    assert json.loads(shown.stdout)["consumer"] == consumer
    assert found.exit_code == 1
    assert json.loads(discarded.stdout)["discarded"] == [name]


async def put_aside(folder: Path, consumer: str) -> None:
    broker = SqliteBroker(DataFolder(folder).broker_file)
    message = ReceivedMessage(topic="order-events", key=b"k", value=b"v", headers={}, partition=0, offset=17)
    await broker.producer().publish([published(letter_for(message, consumer=consumer, reason="malformed_event"))])
    await broker.close()


@pytest.mark.parametrize("command", ["list", "redrive", "discard"])
def test_a_topic_that_has_no_letters_ever_is_told(folder: Path, command: str) -> None:
    told = call("dlq", command, "--topic", "wallet-event", "--data", folder)

    assert told.exit_code == 2
    assert "order-events and wallet-events" in told.output


@pytest.mark.parametrize("command", ["list", "redrive", "discard --yes"])
def test_a_consumer_that_there_is_not_is_told_with_those_that_there_are(folder: Path, command: str) -> None:
    told = call("dlq", *command.split(), "--consumer", "order", "--data", folder)

    assert told.exit_code == 2
    assert "no letters are kept for a consumer order; they are for ledger:order-events and orders" in told.output


@pytest.mark.parametrize("command", ["redrive", "redrive --dry-run --json", "discard --yes"])
def test_a_key_of_which_no_letter_waits_is_told(folder: Path, command: str) -> None:
    told = call("dlq", *command.split(), "--key", "nobody", "--data", folder)

    assert (told.exit_code, told.stdout) == (2, "")
    assert "no letter of key nobody waits; `tradeflow dlq list` names those that do" in told.stderr


def test_listing_the_letters_of_a_key_that_has_none_is_an_answer(folder: Path) -> None:
    told = call("dlq", "list", "--key", "nobody", "--data", folder)

    assert (told.exit_code, told.stdout) == (0, "no letter waits\n")


def test_without_a_letters_name_no_letter_at_all_is_no_failure(folder: Path) -> None:
    told = [call("dlq", command, "--topic", "wallet-events", "--data", folder) for command in ("list", "redrive")]

    assert [one.exit_code for one in told] == [0, 0]


@pytest.mark.parametrize(
    "command",
    [
        ("list", "--topic", "wallet-events"),
        ("redrive", "--topic", "wallet-events", "--dry-run"),
        ("discard", "--topic", "wallet-events"),
        ("show", LETTER),
    ],
)
def test_letters_of_one_topic_are_read_where_the_other_topic_cannot_be(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    async def make_broker() -> None:
        broker = SqliteBroker(DataFolder(tmp_path).broker_file)
        await broker.ensure_topics(["wallet-events", "wallet-events.dlq"])
        received = ReceivedMessage(topic="wallet-events", key=b"k", value=b"", headers={}, partition=0, offset=17)
        await broker.producer().publish([published(letter_for(received, consumer="orders", reason="malformed_event"))])
        await broker.close()

    asyncio.run(make_broker())

    told, of_all = call("dlq", *command, "--data", tmp_path), call("dlq", "list", "--data", tmp_path)

    assert LETTER in told.stdout
    assert of_all.exit_code == 2
    assert "no topic 'order-events.dlq'" in of_all.output
