"""What a schema registry does for TradeFlow: on the fake that other tests use, and on a real one."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from services.runtime.errors import ConflictError, InvalidArgumentError, UnavailableError
from services.runtime.registry.client import RegistryClient, SchemaReference
from services.runtime.registry.codec import SCHEMA_MISSING_REASON, RegistryCodec
from services.runtime.registry.contract import EventContract, schema_file_of
from services.runtime.registry.lookup import find_registered
from services.runtime.registry.registration import (
    COMPATIBILITY_LEVEL,
    Subject,
    SubjectState,
    check_subjects,
    register_subjects,
    subjects_of,
)
from services.runtime.registry.wire_format import payload_of
from tests.support.fake_registry import fake_registry
from tests.support.schema_files import INT64, STRING, schema_file
from tradeflow.common.v1 import money_pb2
from tradeflow.events.v1.order_event_pb2 import OrderConfirmed, OrderEvent

NO_REFERENCES: tuple[SchemaReference, ...] = ()

THING = schema_file({"name": (1, STRING)})

LARGER_THING = schema_file({"name": (1, STRING), "weight": (2, INT64)})

BROKEN_THING = schema_file({"name": (1, INT64)})


@pytest.fixture(params=["fake", pytest.param("apicurio", marks=pytest.mark.part("registry"))])
def registry(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "apicurio":
        yield request.getfixturevalue("registry_url")
        return
    with fake_registry() as fake:
        yield fake.url


@pytest.fixture
async def client(registry: str) -> AsyncIterator[RegistryClient]:
    client = RegistryClient(registry)
    yield client
    await client.close()


@pytest.fixture
def prefix() -> str:
    """Begin the names of subjects that nobody else uses."""
    return f"{uuid4().hex[:12]}."


async def states(client: RegistryClient, subjects: list[Subject]) -> list[SubjectState]:
    return [report.state async for report in check_subjects(client, subjects)]


async def register(client: RegistryClient, subjects: list[Subject]) -> list[SubjectState]:
    return [report.state async for report in register_subjects(client, subjects)]


async def test_an_unknown_subject_has_no_versions_and_no_schema(client: RegistryClient, prefix: str) -> None:
    assert await client.versions(f"{prefix}a") == []
    assert await client.version(f"{prefix}a", 1) is None
    assert await client.look_up(f"{prefix}a", THING.encoded, NO_REFERENCES) is None


async def test_a_schema_is_found_under_the_id_that_registering_gave(client: RegistryClient, prefix: str) -> None:
    subject = f"{prefix}folder/name with spaces/ä"
    schema_id = await client.register(subject, THING.encoded, NO_REFERENCES)
    again = await client.register(subject, THING.encoded, NO_REFERENCES)

    found = await client.look_up(subject, THING.encoded, NO_REFERENCES)

    assert found is not None
    assert (found.id, found.version, again) == (schema_id, 1, schema_id)
    assert await client.look_up(subject, LARGER_THING.encoded, NO_REFERENCES) is None
    assert await client.versions(subject) == [1]


async def test_what_was_registered_is_read_as_it_came(client: RegistryClient, prefix: str) -> None:
    await client.register(f"{prefix}a", THING.encoded, NO_REFERENCES)
    await client.register(f"{prefix}a", LARGER_THING.encoded, NO_REFERENCES)

    version = await client.version(f"{prefix}a", 2)

    assert version is not None
    assert (version.version, version.schema) == (2, LARGER_THING.encoded)
    assert await client.versions(f"{prefix}a") == [1, 2]


async def test_a_schema_that_nobody_can_read_is_refused(client: RegistryClient, prefix: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await client.register(f"{prefix}a", "messsage {", NO_REFERENCES)

    assert refused.value.reason == "schema_invalid"


async def test_the_level_makes_the_registry_refuse_what_breaks_readers(client: RegistryClient, prefix: str) -> None:
    subject = f"{prefix}a"
    await client.register(subject, THING.encoded, NO_REFERENCES)
    await client.set_compatibility_level(subject, COMPATIBILITY_LEVEL)

    with pytest.raises(ConflictError) as refused:
        await client.register(subject, BROKEN_THING.encoded, NO_REFERENCES)
    await client.register(subject, LARGER_THING.encoded, NO_REFERENCES)

    assert refused.value.reason == "schema_incompatible"
    assert await client.compatibility_level(subject) == COMPATIBILITY_LEVEL
    assert await client.versions(subject) == [1, 2]


async def test_processes_that_start_at_once_agree(client: RegistryClient, prefix: str) -> None:
    subjects = [f"{prefix}{number}" for number in range(8)]

    async def start(subject: str) -> int:
        registered = await client.register(subject, THING.encoded, NO_REFERENCES)
        await client.set_compatibility_level(subject, COMPATIBILITY_LEVEL)
        return registered

    for subject in subjects:
        assert len(set(await asyncio.gather(*(start(subject) for _ in range(6))))) == 1
        assert await client.compatibility_level(subject) == COMPATIBILITY_LEVEL
        assert await client.versions(subject) == [1]


async def test_a_forgotten_level_is_not_kept(client: RegistryClient, prefix: str) -> None:
    subject = f"{prefix}a"
    await client.register(subject, THING.encoded, NO_REFERENCES)
    await client.set_compatibility_level(subject, COMPATIBILITY_LEVEL)

    await client.forget_compatibility_level(subject)

    assert await client.compatibility_level(subject) != COMPATIBILITY_LEVEL


@pytest.mark.parametrize("form", ["serialized", "text"])
async def test_a_file_with_imports_is_found_in_either_form(client: RegistryClient, prefix: str, form: str) -> None:
    money = schema_file_of(money_pb2.DESCRIPTOR)
    file = schema_file({"name": (1, STRING)}, imports=(money,))
    schema_id = await client.register(money.name, money.encoded, NO_REFERENCES)
    version = await client.look_up(money.name, money.encoded, NO_REFERENCES)
    assert version is not None
    reference = SchemaReference(name=money.name, subject=money.name, version=version.version)
    schema_id = await client.register(f"{prefix}a", file.encoded if form == "serialized" else file.text, [reference])

    found = await find_registered(client, f"{prefix}a", file)

    assert found is not None
    assert found.id == schema_id


async def test_checking_writes_nothing_and_registering_brings_all_that_is_missing(
    client: RegistryClient, prefix: str
) -> None:
    contract = EventContract(topic="order-events", message=OrderEvent.DESCRIPTOR)
    subjects = subjects_of([contract], outer_name=lambda topic: f"{prefix}{topic}")
    before, still = await states(client, subjects), await client.versions(subjects[-1].name)

    await register(client, subjects)

    assert [subject.name for subject in subjects] == [
        "tradeflow/common/v1/money.proto",
        "tradeflow/common/v1/wallet.proto",
        f"{prefix}order-events-value",
    ]
    assert (before[-1], still) == (SubjectState.MISSING, [])
    assert await states(client, subjects) == [SubjectState.CURRENT] * 3
    assert await register(client, subjects) == [SubjectState.CURRENT] * 3
    assert await client.compatibility_level(subjects[-1].name) == COMPATIBILITY_LEVEL


async def test_a_change_that_breaks_readers_is_told_beforehand_and_never_registered(
    client: RegistryClient, prefix: str
) -> None:
    await register(client, [Subject(name=f"{prefix}a", file=THING)])
    await register(client, [Subject(name=f"{prefix}a", file=LARGER_THING)])
    broken, behind = Subject(name=f"{prefix}a", file=BROKEN_THING), Subject(name=f"{prefix}b", file=THING)

    (report,) = [report async for report in check_subjects(client, [broken])]

    assert report.state is SubjectState.INCOMPATIBLE
    assert [finding.partition(":")[0] for finding in report.findings] == ["version 2", "version 2", "version 1"]
    assert await register(client, [broken, behind]) == [SubjectState.INCOMPATIBLE]
    assert await client.versions(f"{prefix}a") == [1, 2]
    assert await client.versions(f"{prefix}b") == []


async def test_a_level_is_put_back_when_the_registry_refuses_the_schema_after_all(
    client: RegistryClient, prefix: str
) -> None:
    # As text that imports what isn't text it can't be read here, only by the registry.
    money = schema_file_of(money_pb2.DESCRIPTOR)
    await client.register(money.name, money.encoded, NO_REFERENCES)
    version = await client.look_up(money.name, money.encoded, NO_REFERENCES)
    assert version is not None
    reference = SchemaReference(name=money.name, subject=money.name, version=version.version)
    text = schema_file({"name": (1, STRING)}, imports=(money,)).text
    await client.register(f"{prefix}a", text, [reference])
    await client.set_compatibility_level(f"{prefix}a", "BACKWARD")
    broken = Subject(name=f"{prefix}a", file=schema_file({"name": (1, INT64)}, imports=(money,)))
    (report,) = [report async for report in check_subjects(client, [broken])]
    assert (report.state, len(report.findings)) == (SubjectState.MISSING, 1)

    assert await register(client, [broken]) == [SubjectState.INCOMPATIBLE]

    assert await client.compatibility_level(f"{prefix}a") == "BACKWARD"


async def test_a_message_travels_in_the_frame_of_its_schema(registry: str, client: RegistryClient, prefix: str) -> None:
    contract = EventContract(topic="order-events", message=OrderEvent.DESCRIPTOR)
    name = f"{prefix}order-events"
    codec = RegistryCodec(RegistryClient(registry), [contract], outer_name=lambda _: name)
    with pytest.raises(UnavailableError) as missing:
        await codec.encode("order-events", b"")
    await register(client, subjects_of([contract], outer_name=lambda _: name))
    event = OrderEvent(order_id="1", order_confirmed=OrderConfirmed(capture_number=1))

    value = await codec.encode("order-events", event.SerializeToString())

    found = await find_registered(client, f"{name}-value", contract.schema)
    assert found is not None
    assert missing.value.reason == SCHEMA_MISSING_REASON
    assert value[:6] == b"\x00" + found.id.to_bytes(4, "big") + b"\x00"
    assert OrderEvent.FromString(payload_of(value)) == event
    await codec.close()
