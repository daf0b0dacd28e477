import asyncio
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import certifi
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from services.orders.domain.webhook import OLD_SECRET_LIFETIME, WebhookEndpoint, check_url
from services.orders.outbound.public_addresses import is_public
from services.orders.outbound.webhook_sender import HttpWebhookSender, signed_headers
from services.orders.use_cases.deliver_webhooks import DELIVERIES_A_PASS_MAX
from services.orders.webhook_ports import TakenDelivery
from services.runtime.errors import InvalidArgumentError
from tests.support.certificates import Authority
from tests.support.http_upstream import Received, answering, serving_upstream
from tests.support.waiting import eventually
from tests.support.webhook_receiver import WebhookReceiver, webhook_receiver

BODY = b'{"type":"order.settled","data":{}}'
SECRET, OLD_SECRET = b"n" * 32, b"o" * 32
MESSAGE_ID = UUID(int=7)


def now() -> datetime:
    return datetime.now(UTC)


def a_delivery(url: str) -> TakenDelivery:
    endpoint = WebhookEndpoint(
        endpoint_id=UUID(int=1),
        merchant_id=UUID(int=2),
        url=url,
        secret=SECRET,
        old_secret=None,
        old_secret_ends_at=None,
        failures=0,
        created_at=now(),
    )
    return TakenDelivery(
        endpoint=endpoint, message_id=MESSAGE_ID, body=BODY, attempts=0, created_at=now(), taken_until=now()
    )


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture
async def sender() -> AsyncIterator[HttpWebhookSender]:
    sender = HttpWebhookSender(timeout_seconds=5, private_addresses_allowed=True)
    yield sender
    await sender.aclose()


async def test_the_reference_library_accepts_a_message(receiver: WebhookReceiver, sender: HttpWebhookSender) -> None:
    attempt = await sender.send(a_delivery(receiver.url), secrets=[SECRET], now=now())

    assert attempt.succeeded
    (received,) = receiver.received
    assert (received.method, received.target, received.body) == ("POST", "/hooks?shop=1", BODY)
    assert received.header("host") == receiver.url.removeprefix("http://").partition("/")[0]
    assert received.header("webhook-id") == f"msg_{MESSAGE_ID.hex}"
    assert Webhook(SECRET).verify(received.body, dict(received.headers))["type"] == "order.settled"


async def test_while_a_secret_is_rotated_either_verifies(receiver: WebhookReceiver, sender: HttpWebhookSender) -> None:
    await sender.send(a_delivery(receiver.url), secrets=[SECRET, OLD_SECRET], now=now())

    (received,) = receiver.received
    headers = dict(received.headers)
    for secret in (SECRET, OLD_SECRET):
        Webhook(secret).verify(received.body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(b"x" * 32).verify(received.body, headers)


@pytest.mark.parametrize("changed", ["body", "id", "timestamp"])
def test_whoever_changes_a_message_can_not_sign_it(changed: str) -> None:
    headers = signed_headers(MESSAGE_ID, BODY, secrets=[SECRET], now=now())
    body = BODY + b" " if changed == "body" else BODY
    if changed == "id":
        headers["webhook-id"] = "msg_other"
    if changed == "timestamp":
        headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) + 1)

    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, headers)


def test_a_rotated_secret_ends_after_a_day() -> None:
    endpoint = a_delivery("https://shop.example").endpoint
    at = now()

    rotated = endpoint.rotate(b"2" * 32, at)
    again = rotated.rotate(b"3" * 32, at)

    assert rotated.secrets(at) == (b"2" * 32, SECRET)
    assert rotated.secrets(at + OLD_SECRET_LIFETIME - timedelta(seconds=1)) == (b"2" * 32, SECRET)
    assert rotated.secrets(at + OLD_SECRET_LIFETIME) == (b"2" * 32,)
    assert again.secrets(at) == (b"3" * 32, b"2" * 32)


@pytest.mark.parametrize("status", [302, 400, 410, 429, 500])
async def test_only_a_success_counts(receiver: WebhookReceiver, sender: HttpWebhookSender, status: int) -> None:
    receiver.upstream.answer = answering(status, headers=(("Location", "http://127.0.0.1:1/elsewhere"),))

    attempt = await sender.send(a_delivery(receiver.url), secrets=[SECRET], now=now())

    assert (attempt.status, attempt.succeeded, attempt.is_final) == (status, False, status == 410)
    assert len(receiver.received) == 1, "no redirect is followed"


async def test_an_endpoint_that_says_nothing_costs_a_deadline(receiver: WebhookReceiver) -> None:
    async def say_nothing(_received: Received, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    receiver.upstream.answer = say_nothing
    sender = HttpWebhookSender(timeout_seconds=0.3, private_addresses_allowed=True)

    attempt = await sender.send(a_delivery(receiver.url), secrets=[SECRET], now=now())

    assert not attempt.succeeded
    assert (attempt.status, attempt.error != "") == (0, True)
    await sender.aclose()


async def test_what_one_endpoint_sets_as_a_cookie_is_sent_to_none(
    receiver: WebhookReceiver, sender: HttpWebhookSender
) -> None:
    receiver.upstream.answer = answering(headers=(("Set-Cookie", "planted=by-another-merchant; Path=/"),))

    for _ in range(2):
        assert (await sender.send(a_delivery(receiver.url), secrets=[SECRET], now=now())).succeeded

    assert [received.header("cookie") for received in receiver.received] == [None, None]


async def test_as_many_endpoints_as_two_passes_call_leave_a_place_for_each_other(receiver: WebhookReceiver) -> None:
    hanging = 2 * DELIVERIES_A_PASS_MAX - 1

    async def hang(received: Received, writer: asyncio.StreamWriter) -> None:
        if received.target == "/well":
            await answering(204)(received, writer)
        else:
            await asyncio.sleep(60)

    receiver.upstream.answer = hang
    sender = HttpWebhookSender(timeout_seconds=20, private_addresses_allowed=True)
    calls = [
        asyncio.create_task(sender.send(a_delivery(receiver.url), secrets=[SECRET], now=now())) for _ in range(hanging)
    ]

    well = receiver.url.replace("/hooks?shop=1", "/well")
    attempt = await asyncio.wait_for(sender.send(a_delivery(well), secrets=[SECRET], now=now()), timeout=15)

    assert attempt.succeeded
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await sender.aclose()


async def test_a_name_that_older_rules_write_otherwise_leads_to_nobody_else(
    receiver: WebhookReceiver, sender: HttpWebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def resolve_here(host: str, port: int, *rest: int) -> list[Any]:
        asked.append(host)
        return resolve("127.0.0.1", port, *rest)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
    # By IDNA 2003, which Python's sockets know, straße.de is strasse.de: somebody else's.
    url = receiver.url.replace("127.0.0.1", "xn--strae-oqa.de")

    attempt = await sender.send(a_delivery(url), secrets=[SECRET], now=now())

    assert attempt.succeeded
    assert asked[:1] == ["xn--strae-oqa.de"]


async def test_names_that_nobody_answers_for_hold_up_no_other_look_up(
    receiver: WebhookReceiver, sender: HttpWebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, end = socket.getaddrinfo, threading.Event()
    began = threading.Semaphore(0)

    def resolve_slowly(host: str, port: int, *rest: int) -> list[Any]:
        if host == "hangs.example":
            began.release()
            end.wait(timeout=60)
        return resolve("127.0.0.1", port, *rest)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_slowly)
    url = receiver.url.replace("127.0.0.1", "hangs.example")
    calls = [
        asyncio.create_task(sender.send(a_delivery(url), secrets=[SECRET], now=now()))
        for _ in range(DELIVERIES_A_PASS_MAX)
    ]
    try:
        await eventually(lambda: began.acquire(blocking=False))

        attempt = await sender.send(a_delivery(receiver.url), secrets=[SECRET], now=now())
        in_another_part = await asyncio.wait_for(asyncio.to_thread(lambda: "done"), timeout=3)
    finally:
        end.set()
        await asyncio.wait(calls)

    assert attempt.succeeded
    assert in_another_part == "done"


async def test_an_endpoint_that_breaks_tls_after_the_handshake_is_a_failed_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer_in_the_clear(_received: Received, writer: asyncio.StreamWriter) -> None:
        os.write(writer.get_extra_info("socket").fileno(), b"HTTP/1.1 400 Bad Request\r\n\r\n")

    authority = Authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("shop"))
    monkeypatch.setattr(certifi, "where", lambda: str(authority.ca_file))
    sender = HttpWebhookSender(timeout_seconds=5, private_addresses_allowed=True)

    async with serving_upstream(tls) as upstream:
        upstream.answer = answer_in_the_clear
        attempt = await sender.send(a_delivery(upstream.url), secrets=[SECRET], now=now())

    assert (attempt.status, len(upstream.received)) == (0, 1)
    assert attempt.error.startswith("SSLError")
    await sender.aclose()


async def test_nobody_listening_is_a_failed_attempt(sender: HttpWebhookSender) -> None:
    attempt = await sender.send(a_delivery("http://127.0.0.1:1/"), secrets=[SECRET], now=now())

    assert (attempt.status, "ConnectError" in attempt.error) == (0, True)


@pytest.mark.parametrize("host", ["256.1.1.1", "01.2.3.4", "[v1.a]", "xn--a.example", "xn--", "a..example", "a%00"])
async def test_an_address_that_leads_nowhere_is_a_failed_attempt(sender: HttpWebhookSender, host: str) -> None:
    attempt = await sender.send(a_delivery(f"https://{host}/"), secrets=[SECRET], now=now())

    assert attempt.status == 0
    assert attempt.error in {"invalid_url", "name_not_resolved"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0", "2130706433", "[::ffff:127.0.0.1]"])
async def test_a_private_address_is_never_called(receiver: WebhookReceiver, host: str) -> None:
    sender = HttpWebhookSender(timeout_seconds=5, private_addresses_allowed=False)
    port = receiver.url.rpartition(":")[2].partition("/")[0]

    attempt = await sender.send(a_delivery(f"http://{host}:{port}/"), secrets=[SECRET], now=now())

    assert (attempt.status, attempt.error) == (0, "address_not_public")
    assert receiver.received == []
    await sender.aclose()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("0.0.0.1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff0e::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::5db8:d70e", True),
        ("2002:a00:1::", False),
        ("192.0.0.192", False),
        ("::a00:1", False),
        ("::ffff:0:a00:1", False),
        ("64:ff9b:1::a00:1", False),
        ("fec0::1", False),
        ("3fff::1", False),
        ("5f00::1", False),
        ("168.63.129.16", False),
        ("168.63.129.17", True),
        ("::ffff:168.63.129.16", False),
    ],
)
def test_an_address_is_public_however_it_is_wrapped(address: str, public: bool) -> None:  # noqa: FBT001 - a table
    assert is_public(ip_address(address)) is public


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16"],
    ids=["most clouds", "ECS", "Alibaba", "Oracle", "Azure"],
)
def test_what_a_cloud_tells_its_machines_is_not_public_however_it_is_wrapped(address: str) -> None:
    inside = ip_address(address).packed
    wrappings = {
        "mapped": bytes(10) + b"\xff\xff" + inside,
        "compatible": bytes(12) + inside,
        "translated": bytes(8) + b"\xff\xff\0\0" + inside,
        "6to4": b"\x20\x02" + inside + bytes(10),
        "NAT64": b"\0\x64\xff\x9b" + bytes(8) + inside,
        "NAT64 of a network's own": b"\0\x64\xff\x9b\0\x01" + bytes(6) + inside,
        "Teredo": b"\x20\x01\0\0" + b"\x41\x36\xe3\x78" + bytes(4) + bytes(255 - byte for byte in inside),
        "link-local": b"\xfe\x80" + bytes(10) + inside,
    }

    assert [name for name, wrapped in wrappings.items() if is_public(ip_address(wrapped))] == []
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["fd00:ec2::254", "fd20:ce::254", "fe80::a9fe:a9fe"])
def test_what_a_cloud_tells_its_machines_by_ipv6_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "url", ["https://shop.example/hooks?a=1", "https://shop.example:8443", "https://93.184.215.14/"]
)
def test_an_address_with_tls_can_be_registered(url: str) -> None:
    assert check_url(url, plain_http_allowed=False) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://shop.example/",
        "ftp://shop.example/",
        "https://",
        "https:///hooks",
        "https://user:password@shop.example/",
        "https://shop.example/#part",
        "https://shop.example:99999/",
        "https://shop.example:0/",
        "https://[::1/",
        "https://shop.example/a b",
        "https://sh\u00f6p.example/",
        "https://shop.example/\n",
        "https://shop.example/" + "a" * 2_048,
    ],
)
def test_what_can_not_be_called_safely_is_no_endpoint(url: str) -> None:
    with pytest.raises(InvalidArgumentError) as invalid:
        check_url(url, plain_http_allowed=False)

    assert invalid.value.reason == "invalid_url"


def test_plain_http_is_for_those_who_set_it() -> None:
    assert check_url("http://127.0.0.1:8080/", plain_http_allowed=True) == "http://127.0.0.1:8080/"
