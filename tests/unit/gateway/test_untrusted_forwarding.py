"""A proxy in front that nobody named: told for a while, and logged once a while."""

from ipaddress import ip_network
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.gateway.inbound.untrusted_forwarding import TOLD_FOR, UntrustedForwarding
from services.runtime.errors import UnavailableError
from tests.support.clock import VirtualClock

TRUSTED = [ip_network("10.0.0.0/8")]


def scope(peer: str, *forwarded: str) -> Any:
    return {"client": (peer, 1234), "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded]}


async def test_a_proxy_that_nobody_named_is_told_until_its_calls_stop() -> None:
    clock = VirtualClock()
    untrusted = UntrustedForwarding(TRUSTED, clock)

    untrusted.note(scope("192.0.2.1", "203.0.113.9"))

    with pytest.raises(UnavailableError, match="trusted proxies"):
        await untrusted.check()
    await clock.advance(TOLD_FOR.total_seconds())
    await untrusted.check()


@pytest.mark.parametrize("call", [scope("10.0.0.1", "203.0.113.9"), scope("192.0.2.1")])
async def test_neither_a_trusted_proxy_nor_a_caller_without_one_is_told(call: Any) -> None:
    untrusted = UntrustedForwarding(TRUSTED, VirtualClock())

    with capture_logs() as logs:
        untrusted.note(call)

    await untrusted.check()
    assert logs == []


async def test_many_calls_through_it_are_one_line_of_the_log_in_a_while() -> None:
    clock = VirtualClock()
    untrusted = UntrustedForwarding((), clock)

    with capture_logs() as logs:
        for _ in range(3):
            untrusted.note(scope("192.0.2.1", "203.0.113.9"))
        await clock.advance(TOLD_FOR.total_seconds())
        for _ in range(3):
            untrusted.note(scope("192.0.2.2", "203.0.113.9"))

    told = [(line["event"], line["log_level"], line["peer"]) for line in logs]
    assert told == [("forwarded_by_untrusted_peer", "warning", peer) for peer in ("192.0.2.1", "192.0.2.2")]
