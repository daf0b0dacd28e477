"""What the client makes of an answer that isn't a gateway's."""

import pytest

from services.embedded.client import TradeFlowClient
from services.runtime.errors import UnavailableError
from tests.support.http_upstream import answering, serving_upstream


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"", b"[]", b"\xff"])
async def test_a_success_that_is_no_gateways_is_told_as_that(body: bytes) -> None:
    async with serving_upstream() as upstream:
        upstream.answer = answering(body=body)
        async with TradeFlowClient(upstream.url) as client:
            with pytest.raises(UnavailableError, match="is no gateway of TradeFlow") as login:
                await client.login("ann@example.org", "correct horse")
            with pytest.raises(UnavailableError, match="is no gateway of TradeFlow"):
                await client.balance("EUR")

    assert login.value.reason == "answer_unreadable"
    assert len(upstream.received) == 2
