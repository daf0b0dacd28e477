"""A merchant's server: takes webhooks, checks them with the reference library, and says what a test wants."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from standardwebhooks import Webhook

from tests.support.http_upstream import HttpUpstream, Received, answering, serving_upstream


@dataclass(slots=True)
class WebhookReceiver:
    """What came to it."""

    upstream: HttpUpstream

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.upstream.url}/hooks?shop=1"

    @property
    def received(self) -> list[Received]:
        """Everything that came, the oldest first."""
        return self.upstream.received

    def answer(self, status: int) -> None:
        """Answer so from now on."""
        self.upstream.answer = answering(status)

    def verified(self, received: Received, secret: str) -> Any:
        """Check a message as the reference library does, and read it."""
        return Webhook(secret).verify(received.body, dict(received.headers))


@asynccontextmanager
async def webhook_receiver() -> AsyncIterator[WebhookReceiver]:
    """Listen on a free port; a message is answered with 204."""
    async with serving_upstream() as upstream:
        receiver = WebhookReceiver(upstream)
        receiver.answer(204)
        yield receiver
