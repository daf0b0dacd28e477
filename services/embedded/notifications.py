"""Read a wallet's live events over the WebSocket, with and without coming back."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from urllib.parse import urlencode

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from services.embedded.public_api import Event, Hello, Notification, ReloadRequired, WalletEvent
from services.embedded.retrying import is_worth_a_retry, pause_seconds
from services.runtime.errors import RateLimitedError, TradeFlowError, UnauthenticatedError, UnavailableError

MESSAGE_BYTES_MAX = 1024 * 1024
"""An event has at most 16 KiB; far above it something is wrong."""

CLOSE_CODE_UNAUTHORISED = 3000
"""The gateway's word for a token or ticket that doesn't count."""

HTTP_UNAUTHORISED = (401, 403)
"""How a server refuses a WebSocket before it opens."""

HTTP_TOO_MANY = 429
"""Rate limited."""

RECONNECTS_MAX = 20
"""In a row without any message; with up to 5 s between them the server is gone for good."""

_decode = msgspec.json.Decoder(Notification).decode


class EventsLostError(TradeFlowError):
    """The next event is no longer kept: reload the balance and go on from `last_sequence`."""

    default_reason = "reload_required"

    def __init__(self, last_sequence: int) -> None:
        """Remember where the server is."""
        super().__init__(f"events are missing; reload and go on from sequence {last_sequence}")
        self.last_sequence = last_sequence


async def notifications_of(
    base_url: str, token_of_now: Callable[[], Awaitable[str]], last_sequence: int | None
) -> AsyncGenerator[Notification, None]:
    """Yield what one connection says, until the server closes it in good order."""
    query = "" if last_sequence is None else "?" + urlencode({"last_sequence": last_sequence})
    uri = "ws" + base_url.removeprefix("http") + "/ws/notifications" + query
    headers = {"Authorization": f"Bearer {await token_of_now()}"}
    try:
        async with connect(uri, additional_headers=headers, max_size=MESSAGE_BYTES_MAX, proxy=None) as socket:
            async for text in socket:
                yield _decode(text)
    except InvalidStatus as error:
        raise _error_of_status(error.response.status_code) from error
    except ConnectionClosed as error:
        if error.rcvd is not None and error.rcvd.code == CLOSE_CODE_UNAUTHORISED:
            raise UnauthenticatedError(f"the gateway refused the token: {error.rcvd.reason}") from error
        raise UnavailableError(f"the connection was lost: {error}", retry_after_seconds=0) from error
    except (OSError, InvalidHandshake) as error:
        raise UnavailableError(f"no connection to {base_url}: {error!r}", retry_after_seconds=0) from error


async def events_of(
    base_url: str, token_of_now: Callable[[], Awaitable[str]], last_sequence: int | None
) -> AsyncGenerator[WalletEvent, None]:
    """Yield each event once and in order, over as many connections as it takes."""
    reconnects = 0
    while True:
        ended: TradeFlowError = UnavailableError("the server closed the connection", retry_after_seconds=0)
        try:
            async with aclosing(notifications_of(base_url, token_of_now, last_sequence)) as said:
                async for notification in said:
                    reconnects = 0
                    event, last_sequence = _heard(notification, last_sequence)
                    if event is not None:
                        yield event
        except TradeFlowError as error:
            if isinstance(error, EventsLostError) or not (is_worth_a_retry(error) or reconnects == 0):
                raise
            ended = error
        reconnects += 1
        if reconnects > RECONNECTS_MAX:
            raise ended
        await asyncio.sleep(pause_seconds(ended, reconnects))


def _heard(notification: Notification, last_sequence: int | None) -> tuple[WalletEvent | None, int | None]:
    """Tell which event is new, if any, and where the reader stands after it."""
    match notification:
        case Hello(last_sequence=newest) if last_sequence is None:
            return None, newest
        case Event(event=event) if last_sequence is None or event.sequence > last_sequence:
            return event, event.sequence
        case ReloadRequired(last_sequence=newest):
            raise EventsLostError(newest)
        case _:
            return None, last_sequence


def _error_of_status(status: int) -> TradeFlowError:
    if status in HTTP_UNAUTHORISED:
        return UnauthenticatedError("the gateway refused the token")
    if status == HTTP_TOO_MANY:
        return RateLimitedError("too many connections", retry_after_seconds=1)
    return UnavailableError(f"the gateway answered {status}", retry_after_seconds=0)
