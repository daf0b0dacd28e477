"""`tradeflow dlq`: what consumers could not handle, and handing it to them once more."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.table import Table

from services.embedded.book_source import check_file_exists
from services.embedded.commands.common_options import (
    DEFAULT_DATA,
    DataOption,
    JsonOption,
    log_errors_but_kafkas,
    place_beside,
)
from services.embedded.commands.exit_codes import OK, USAGE, VIOLATED, end_with
from services.embedded.commands.letter_report import letter_as_data, letter_name, origin_of
from services.embedded.commands.service_database import telling_what_is_in_the_way
from services.embedded.data_folder import DataFolder
from services.embedded.sqlite_url import sqlite_url
from services.embedded.story.stage import new_console
from services.ledger.inbound.order_events import CONSUMER_NAME as LEDGER_CONSUMER
from services.orders.inbound.wallet_events import CONSUMER_GROUP as ORDERS_CONSUMER
from services.orders.inbound.wallet_events import WALLET_EVENTS_TOPIC
from services.orders.outbound.order_events import ORDER_EVENTS_TOPIC
from services.runtime.broker.opening import open_broker
from services.runtime.broker.port import Broker
from services.runtime.dead_letters import DeadLetter
from services.runtime.errors import InvalidArgumentError, NotFoundError, UnavailableError
from services.runtime.redriving import LetterFilter, discard, redrive, to_redrive, waiting_letters
from services.runtime.url_parts import url_parts

TOPICS = (ORDER_EVENTS_TOPIC, WALLET_EVENTS_TOPIC)
"""All that have dead letters."""

CONSUMERS = (LEDGER_CONSUMER, ORDERS_CONSUMER)
"""All that put letters aside."""

LOOK_AGAIN_SECONDS = 0.5
"""Between two looks at what consumers make of redriven letters."""

app = typer.Typer(
    no_args_is_help=True, help="Dead letters: events that a consumer could not handle, and what waits behind them."
)

BrokerUrlOption = Annotated[
    str | None,
    typer.Option(
        "--broker",
        envvar=["TRADEFLOW_ORDERS_BROKER_URL", "TRADEFLOW_LEDGER_BROKER_URL"],
        show_envvar=True,
        help="The broker, instead of a data folder's: kafka://…, or sqlite:////path/to/broker.db",
    ),
]
TopicOption = Annotated[str | None, typer.Option("--topic", help="Only letters of this topic, such as wallet-events.")]
ConsumerOption = Annotated[
    str | None, typer.Option("--consumer", help=f"Only letters for this consumer: {' or '.join(CONSUMERS)}.")
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", help="Only letters with this reason; `parked` are those that wait for others.")
]
KeyOption = Annotated[str | None, typer.Option("--key", help="Only letters of this key: an order's or a wallet's id.")]
LetterOption = Annotated[
    str | None, typer.Option("--letter", metavar="NAME", help="Only this letter, as `list` names it.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="How many letters at most; without it, all.")]

T = TypeVar("T")


@app.command("list")
def list_(
    context: typer.Context,
    *,
    data: DataOption = DEFAULT_DATA,
    broker: BrokerUrlOption = None,
    topic: TopicOption = None,
    consumer: ConsumerOption = None,
    reason: ReasonOption = None,
    key: KeyOption = None,
    limit: LimitOption = None,
    json: JsonOption = False,
) -> None:
    """List the letters that wait, oldest first in each key. Exit code 1 when there are any.

    [bold]Examples[/bold]

    tradeflow dlq list

    tradeflow dlq list --broker kafka://kafka:9092 --reason malformed_event --json
    """
    log_errors_but_kafkas()
    wanted = _filter(topic, consumer, reason, key, None)
    with telling_what_is_in_the_way():
        waiting = _on_broker(context, data, broker, partial(_waiting, wanted))
    letters = [one for one in waiting if wanted.matches(one)][:limit]
    if json:
        told = [letter_as_data(letter, with_value=False) for letter in letters]
        sys.stdout.write(msgspec.json.encode({"letters": told}).decode() + "\n")
    else:
        _print_letters(letters)
    raise typer.Exit(VIOLATED if letters else OK)


@app.command()
def show(
    context: typer.Context,
    letter: Annotated[str, typer.Argument(metavar="NAME", help="The letter, as `list` names it.")],
    *,
    data: DataOption = DEFAULT_DATA,
    broker: BrokerUrlOption = None,
) -> None:
    """Show one letter as JSON: its headers, and the event in it as far as it can be read.

    [bold]Examples[/bold]

    tradeflow dlq show orders:wallet-events/0/17
    """
    log_errors_but_kafkas()
    wanted = _filter(None, None, None, None, letter)
    with telling_what_is_in_the_way():
        waiting = _on_broker(context, data, broker, partial(_waiting, wanted))
    found = [one for one in waiting if wanted.matches(one)]
    if not found:
        _refuse_what_does_not_wait(letter, None)
    content = msgspec.json.encode(letter_as_data(found[0], with_value=True))
    sys.stdout.write(msgspec.json.format(content, indent=2).decode() + "\n")


@app.command("redrive")
def redrive_(
    context: typer.Context,
    *,
    data: DataOption = DEFAULT_DATA,
    broker: BrokerUrlOption = None,
    topic: TopicOption = None,
    consumer: ConsumerOption = None,
    reason: ReasonOption = None,
    key: KeyOption = None,
    letter: LetterOption = None,
    limit: LimitOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell which letters would go.")] = False,
    wait_seconds: Annotated[
        float, typer.Option("--wait-seconds", min=0, help="How many seconds to wait for what becomes of them.")
    ] = 10.0,
    json: JsonOption = False,
) -> None:
    """Hand letters to their consumers once more, in the order of each key.

    Older letters of the same keys go first, since nothing may overtake them. A consumer that handles a letter says so
    in the dead-letter topic, so that none takes effect twice, however often it is redriven. Exit code 1 when some of
    them still wait in the end, 2 when no letter of the name or the key that was given waits.

    [bold]Examples[/bold]

    tradeflow dlq redrive --reason malformed_event --dry-run

    tradeflow dlq redrive --consumer orders --key 0198c0de-0000-7000-8000-000000000001
    """
    log_errors_but_kafkas()
    wanted = _filter(topic, consumer, reason, key, letter)

    async def work(opened: Broker) -> tuple[list[DeadLetter], list[DeadLetter]]:
        chosen = to_redrive(await _waiting(wanted, opened), wanted, letters_max=limit)
        if dry_run or not chosen:
            return chosen, []
        await redrive(chosen, opened.producer())
        return chosen, await _still_waiting(wanted, opened, chosen, wait_seconds)

    with telling_what_is_in_the_way():
        chosen, left = _on_broker(context, data, broker, work)
    if not chosen:
        _refuse_what_does_not_wait(letter, key)
    _report("would_redrive" if dry_run else "redriven", chosen, left, json=json)
    raise typer.Exit(VIOLATED if left else OK)


@app.command("discard")
def discard_(
    context: typer.Context,
    *,
    data: DataOption = DEFAULT_DATA,
    broker: BrokerUrlOption = None,
    topic: TopicOption = None,
    consumer: ConsumerOption = None,
    reason: ReasonOption = None,
    key: KeyOption = None,
    letter: LetterOption = None,
    limit: LimitOption = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without it, only tell which letters would be given up.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Give letters up for good: they never take effect, and what waits behind them can be redriven.

    Without --yes nothing changes. Exit code 2 when no letter of the name or the key that was given waits.

    [bold]Examples[/bold]

    tradeflow dlq discard --letter orders:wallet-events/0/17    [dim]# which would go[/dim]

    tradeflow dlq discard --letter orders:wallet-events/0/17 --yes
    """
    log_errors_but_kafkas()
    wanted = _filter(topic, consumer, reason, key, letter)

    async def work(opened: Broker) -> list[DeadLetter]:
        chosen = [one for one in await _waiting(wanted, opened) if wanted.matches(one)][:limit]
        if yes and chosen:
            await discard(chosen, opened.producer())
        return chosen

    with telling_what_is_in_the_way():
        chosen = _on_broker(context, data, broker, work)
    if not chosen:
        _refuse_what_does_not_wait(letter, key)
    _report("discarded" if yes else "would_discard", chosen, [], json=json)


def _filter(
    topic: str | None, consumer: str | None, reason: str | None, key: str | None, letter: str | None
) -> LetterFilter:
    if topic is not None and topic not in TOPICS:
        end_with(f"no letters are kept of a topic {topic}; they are of {' and '.join(TOPICS)}", USAGE)
    if consumer is not None and consumer not in CONSUMERS:
        end_with(f"no letters are kept for a consumer {consumer}; they are for {' and '.join(CONSUMERS)}", USAGE)
    origin = None
    if letter is not None:
        origin = origin_of(letter)
        if origin is None:
            end_with(f"{letter} is no letter's name: `tradeflow dlq list` shows them", USAGE)
    return LetterFilter(
        topic=topic, consumer=consumer, reason=reason, key=None if key is None else key.encode(), origin=origin
    )


def _refuse_what_does_not_wait(letter: str | None, key: str | None) -> None:
    """End where a letter or a key was named of which none waits: most likely it is mistyped."""
    named = letter if letter is not None else f"of key {key}"
    if letter is not None or key is not None:
        end_with(f"no letter {named} waits; `tradeflow dlq list` names those that do", USAGE)


def _on_broker(
    context: typer.Context, data: Path, url: str | None, work: Callable[[Broker], Coroutine[Any, Any, T]]
) -> T:
    """Do some work on the broker of the options.

    Raises:
        InvalidArgumentError: There is none, or it lacks the topics of a platform.
        UnavailableError: It doesn't answer.
    """
    url = place_beside(context, "--broker", url)
    if url is None:
        url = sqlite_url(DataFolder(data).broker_file)
    check_file_exists(url)

    async def run() -> T:
        async with _opened(url) as broker:
            return await work(broker)

    try:
        return asyncio.run(run())
    except NotFoundError as error:
        raise InvalidArgumentError(error.message, reason=error.reason) from error
    except UnavailableError as error:
        servers = url_parts(url, "broker").netloc.rpartition("@")[2]
        if not servers:
            raise
        raise UnavailableError(f"Kafka at {servers} can't be asked: {error.message}", reason=error.reason) from error


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Broker]:
    broker = open_broker(url)
    try:
        yield broker
    finally:
        await broker.close()


async def _waiting(wanted: LetterFilter, broker: Broker) -> list[DeadLetter]:
    """Read the letters of the topic that is wanted, or of all: a user may lack the right to read the others."""
    of_topic = wanted.topic if wanted.origin is None else wanted.origin.topic
    return await waiting_letters(broker, [topic for topic in TOPICS if topic == of_topic] or TOPICS)


async def _still_waiting(
    wanted: LetterFilter, broker: Broker, redriven: Sequence[DeadLetter], wait_seconds: float
) -> list[DeadLetter]:
    """Look until all of them are settled, or the time is over; return those that aren't."""
    give_up_at_seconds = time.monotonic() + wait_seconds
    while True:
        origins = {letter.origin for letter in await _waiting(wanted, broker)}
        left = [letter for letter in redriven if letter.origin in origins]
        if not left or time.monotonic() >= give_up_at_seconds:
            return left
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


def _report(verb: str, chosen: Sequence[DeadLetter], left: Sequence[DeadLetter], *, json: bool) -> None:
    if json:
        told = {verb: [letter_name(one) for one in chosen], "still_waiting": [letter_name(one) for one in left]}
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
        return
    _print_letters(chosen)
    sys.stdout.write(f"{verb.replace('_', ' ')}: {len(chosen):,}; still waiting: {len(left):,}\n")


def _print_letters(letters: Sequence[DeadLetter]) -> None:
    table = Table(box=None)
    for column in ("letter", "reason", "key", "event"):
        table.add_column(column, overflow="fold")
    for letter in letters:
        key = letter.key.decode(errors="replace")
        table.add_row(letter_name(letter), letter.reason, key, letter.headers.get("event-id", ""))
    new_console().print(table if letters else "no letter waits")
