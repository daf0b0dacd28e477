"""Whatever the service that mails tokens does wrong, an attempt has failed, and the next request is looked into."""

import asyncio
import os
import ssl
from pathlib import Path

import certifi
import pytest

from services.orders.domain.password_reset import IssuedReset
from services.orders.domain.user import Role, User
from services.orders.outbound.reset_sender import HttpResetSender
from services.runtime.errors import UnavailableError
from services.runtime.ids import new_id
from tests.support.certificates import Authority
from tests.support.clock import START, VirtualClock
from tests.support.http_upstream import Received, serving_upstream


def a_reset() -> IssuedReset:
    user = User(user_id=new_id(), email="ann@example.org", roles=frozenset({Role.BUYER}), created_at=START)
    return IssuedReset(reset_id=new_id(), token="a token", user=user, expires_at=START)


async def test_a_service_that_breaks_tls_after_the_handshake_has_not_taken_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer_in_the_clear(_received: Received, writer: asyncio.StreamWriter) -> None:
        os.write(writer.get_extra_info("socket").fileno(), b"HTTP/1.1 400 Bad Request\r\n\r\n")

    authority = Authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("mail"))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    monkeypatch.setattr(certifi, "where", lambda: str(authority.ca_file))

    async with serving_upstream(tls) as upstream:
        upstream.answer = answer_in_the_clear
        sender = HttpResetSender(upstream.url, secret=bytes(32), clock=VirtualClock())
        with pytest.raises(UnavailableError) as not_taken:
            await sender.deliver(a_reset())
        await sender.aclose()

    assert (not_taken.value.reason, len(upstream.received)) == ("reset_not_delivered", 1)
