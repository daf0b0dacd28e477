import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.runtime.broker.port import Message
from services.runtime.errors import InvalidArgumentError, UnavailableError
from services.runtime.registry.client import RegistryClient
from services.runtime.registry.codec import SCHEMA_MISSING_REASON, RegistryCodec, open_codec
from services.runtime.registry.contract import EventContract
from services.runtime.registry.encoding_producer import EncodingProducer
from services.runtime.registry.port import PlainCodec
from services.runtime.registry.registration import register_subjects, subjects_of
from services.runtime.registry.registry_url import place_of
from tests.support.fake_producer import FakeProducer
from tests.support.fake_registry import FakeRegistry, fake_registry
from tests.support.http_upstream import answering, serving_upstream
from tradeflow.events.v1.order_event_pb2 import OrderEvent

CONTRACT = EventContract(topic="order-events", message=OrderEvent.DESCRIPTOR)

FRAME = b"\x00\x00\x00\x00\x03\x00"
"""Money, wallet and order events are registered in this order."""


def outer_name(topic: str) -> str:
    return f"shop1.{topic}"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


@pytest.fixture
async def codec(registry: FakeRegistry) -> AsyncIterator[RegistryCodec]:
    codec = RegistryCodec(RegistryClient(registry.url), [CONTRACT], outer_name=outer_name)
    yield codec
    await codec.close()


async def register(registry: FakeRegistry, url: str | None = None) -> None:
    client = RegistryClient(url or registry.url)
    async for _ in register_subjects(client, subjects_of([CONTRACT], outer_name=outer_name)):
        pass
    await client.close()
    registry.asked.clear()


async def test_the_id_is_looked_up_once_and_nothing_is_registered(registry: FakeRegistry, codec: RegistryCodec) -> None:
    await register(registry)

    values = await asyncio.gather(*(codec.encode("order-events", b"x") for _ in range(20)))

    assert values == [FRAME + b"x"] * 20
    assert len(registry.asked) == 3
    assert not any(each.endswith("/versions") for each in registry.asked)


async def test_a_missing_subject_names_itself_and_the_command(codec: RegistryCodec) -> None:
    with pytest.raises(UnavailableError, match="tradeflow schemas register") as missing:
        await codec.encode("order-events", b"x")

    assert missing.value.reason == SCHEMA_MISSING_REASON
    assert missing.value.details == {"subject": "shop1.order-events-value"}
    assert "shop1.order-events-value" in missing.value.message


async def test_publishing_goes_on_once_the_schema_is_registered(registry: FakeRegistry, codec: RegistryCodec) -> None:
    with pytest.raises(UnavailableError):
        await codec.check_ready()
    await register(registry)

    await codec.check_ready()

    assert await codec.encode("order-events", b"") == FRAME


async def test_a_registry_that_went_down_doesn_t_matter_to_who_has_asked_it(
    registry: FakeRegistry, codec: RegistryCodec
) -> None:
    await register(registry)
    await codec.check_ready()
    registry.stop()

    await codec.check_ready()

    assert await codec.encode("order-events", b"x") == FRAME + b"x"


async def test_a_registry_that_is_down_at_the_start_is_found_when_it_comes(
    registry: FakeRegistry, codec: RegistryCodec
) -> None:
    await register(registry)
    registry.stop()
    with pytest.raises(UnavailableError) as down:
        await codec.check_ready()
    registry.start()

    await codec.check_ready()

    assert down.value.reason == "registry_unreachable"


async def test_what_may_pass_is_tried_again(registry: FakeRegistry, codec: RegistryCodec) -> None:
    await register(registry)
    registry.failures = [503, 500]

    assert await codec.encode("order-events", b"") == FRAME


async def test_a_registry_that_keeps_failing_is_unreachable(registry: FakeRegistry, codec: RegistryCodec) -> None:
    registry.failures = [503, 503, 503]

    with pytest.raises(UnavailableError, match="503") as unreachable:
        await codec.check_ready()

    assert unreachable.value.reason == "registry_unreachable"


async def test_another_page_than_a_registry_s_is_no_missing_schema(registry: FakeRegistry) -> None:
    codec = RegistryCodec(RegistryClient(f"{registry.url}/nowhere/at/all/here"), [CONTRACT], outer_name=outer_name)

    with pytest.raises(UnavailableError, match="404") as unreachable:
        await codec.check_ready()
    await codec.close()

    assert unreachable.value.reason == "registry_unreachable"


async def test_a_wrong_password_has_a_reason_of_its_own(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.credentials = "shop:s3cret"
    await register(registry, registry.url.replace("://", "://shop:s3cret@"))
    (tmp_path / "password").write_text("s3cret\n")
    by_file = registry.url.replace("://", "://shop@") + f"?password_file={tmp_path}/password"

    for url in (registry.url, registry.url.replace("://", "://shop:wrong@")):
        codec = open_codec(url, [CONTRACT], outer_name=outer_name)
        with pytest.raises(UnavailableError) as forbidden:
            await codec.check_ready()
        await codec.close()
        assert forbidden.value.reason == "registry_forbidden"
        assert "wrong" not in forbidden.value.message
    let_in = open_codec(by_file, [CONTRACT], outer_name=outer_name)
    await let_in.check_ready()
    await let_in.close()


async def test_a_look_up_goes_on_when_the_probe_that_asked_gives_up(
    registry: FakeRegistry, codec: RegistryCodec
) -> None:
    await register(registry)
    probe = asyncio.create_task(codec.check_ready())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)

    assert await codec.encode("order-events", b"") == FRAME
    assert len(registry.asked) == 3


async def test_a_producer_publishes_frames_and_leaves_all_else_as_it_is(
    registry: FakeRegistry, codec: RegistryCodec
) -> None:
    await register(registry)
    inner = FakeProducer()
    message = Message(topic="order-events", key=b"k", value=b"x", headers={"event-id": "1"})

    await EncodingProducer(inner, codec).publish([message])
    await EncodingProducer(inner, PlainCodec()).publish([message])

    assert inner.log == [
        Message(topic="order-events", key=b"k", value=FRAME + b"x", headers={"event-id": "1"}),
        message,
    ]


async def test_nothing_is_published_of_a_batch_whose_schema_is_missing(codec: RegistryCodec) -> None:
    inner = FakeProducer()

    with pytest.raises(UnavailableError):
        await EncodingProducer(inner, codec).publish([Message(topic="order-events", key=b"k", value=b"x")])

    assert inner.log == []


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("registry:8081", "https://host"),
        ("kafka://registry:8081", "https://host"),
        ("http:///path", "https://host"),
        ("http://registry?cafile=x", "unknown option 'cafile'"),
        ("http://u@registry?password_file=/nowhere", "No such file"),
        ("https://registry?ca_file=/nowhere", "No such file"),
    ],
)
def test_a_malformed_url_is_refused_by_name(url: str, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told) as refused:
        place_of(url)

    assert refused.value.reason == "registry_url_malformed"


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"", b"{}", b"[1]", b'{"id": "one"}', b"\xff"])
async def test_an_answer_that_is_not_a_registrys_is_told_as_that(body: bytes) -> None:
    async with serving_upstream() as upstream:
        upstream.answer = answering(body=body)
        client = RegistryClient(upstream.url)

        with pytest.raises(UnavailableError, match=f"{upstream.url} can't be asked: .*no registry") as refused:
            await client.look_up("order-events-value", "schema", ())
        await client.close()

    assert refused.value.reason == "registry_unreachable"


def test_a_url_is_told_without_its_password() -> None:
    place = place_of("https://shop:p%40ss@registry:8081/apis/ccompat/v7/")

    assert place.base_url == "https://registry:8081/apis/ccompat/v7"
    assert place.credentials == ("shop", "p@ss")
    assert "p@ss" not in repr(place)
