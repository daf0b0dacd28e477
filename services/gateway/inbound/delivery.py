"""Runs one connection for wallet events, whatever carries it: WebSocket or server-sent events."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import msgspec

from services.gateway.inbound.wallet_event_json import event_json
from services.gateway.ports import WalletNotice
from services.gateway.wallet_feed import Subscription
from services.gateway.wallet_session import (
    SLOW_CONSUMER,
    Draining,
    Ending,
    Heartbeat,
    Hello,
    ReloadRequired,
    ServerMessage,
    WalletSession,
)
from services.runtime.errors import InvalidArgumentError
from services.runtime.tracing import StepKind, begin_step

SEND_SECONDS_MAX = 30.0
"""How long one message may wait for the network before its reader counts as too slow."""

SEQUENCE_DIGITS_MAX = 16
"""2^53 has so many: JSON carries sequences up to there."""

SEQUENCE_MAX = 2**53 - 1
"""The largest sequence that JSON carries."""


def last_sequence_of(text: str | None) -> int | None:
    """Read the last sequence that a client has; None for live events only.

    Raises:
        InvalidArgumentError: It isn't a whole number from 0 (last_sequence_malformed).
    """
    if text is None:
        return None
    is_number = text.isascii() and text.isdecimal() and len(text) <= SEQUENCE_DIGITS_MAX
    if not is_number or int(text) > SEQUENCE_MAX:
        raise InvalidArgumentError("last_sequence must be a whole number from 0.", reason="last_sequence_malformed")
    return int(text)


def message_type(message: ServerMessage) -> str:
    """Tell the `type` that a message has in JSON."""
    match message:
        case Hello():
            return "hello"
        case WalletNotice():
            return "event"
        case ReloadRequired():
            return "reload_required"
        case Heartbeat():
            return "heartbeat"
        case Draining():
            return "draining"


def message_json(message: ServerMessage) -> str:
    """Write a message as clients get it."""
    match message:
        case WalletNotice():
            return event_json(message.payload)
        case Hello():
            content: dict[str, object] = {"wallet_id": message.wallet_id, "last_sequence": message.last_sequence}
        case ReloadRequired():
            content = {"last_sequence": message.last_sequence}
        case _:
            content = {}
    return msgspec.json.encode({"type": message_type(message), **content}).decode()


async def deliver(
    session: WalletSession,
    subscription: Subscription,
    *,
    send: Callable[[ServerMessage], Awaitable[None]],
    client_left: Callable[[], Awaitable[None]],
) -> Ending | None:
    """Send a prepared session's messages until an end; return how to end the connection, or None when the client left.

    A reader that is too slow is noticed while a message waits for it: its queue overflows behind that message.
    """
    sending = asyncio.create_task(_send_all(session, send))
    leaving = asyncio.create_task(_until(client_left))
    overflowing = asyncio.create_task(_until(subscription.overflowed.wait))
    tasks: set[asyncio.Task[Ending | None]] = {sending, leaving, overflowing}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            return None
        return SLOW_CONSUMER if overflowing.done() else sending.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _send_all(session: WalletSession, send: Callable[[ServerMessage], Awaitable[None]]) -> Ending | None:
    async with aclosing(session.messages()) as messages:
        async for message in messages:
            try:
                async with asyncio.timeout(SEND_SECONDS_MAX):
                    await _send_traced(send, message)
            except TimeoutError:
                return SLOW_CONSUMER
    return session.ending


async def _send_traced(send: Callable[[ServerMessage], Awaitable[None]], message: ServerMessage) -> None:
    """Send; a live event's way ends with this step of its trace."""
    header = message.traceparent if isinstance(message, WalletNotice) else None
    step = begin_step(header, "push wallet event", StepKind.PRODUCER)
    error: BaseException | None = None
    try:
        await send(message)
    except BaseException as raised:
        error = raised
        raise
    finally:
        if step is not None:
            step.end(error)


async def _until(happened: Callable[[], Awaitable[object]]) -> None:
    await happened()
