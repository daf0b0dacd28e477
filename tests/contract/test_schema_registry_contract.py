"""What the operator relies on of a schema registry: on the fake that its other tests use, and on a real one."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest

from tests.parts.home import free_port
from tests.support.fake_schema_registry import FakeRegistryClient, FakeSubjects
from tradeflow_operator.clients import registry as registry_module
from tradeflow_operator.clients.fence import Fence, open_fence
from tradeflow_operator.clients.registry import IncompatibleError, RegistryClient
from tradeflow_operator.errors import NotLeaderError, RefusedError, UnavailableError
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.reconcile.event_schema import SchemaReference, SchemaText


def protobuf(*fields: str, head: str = "", message: str = "Order") -> SchemaText:
    """Write a schema as people do: `protobuf("string id = 1;")`."""
    lines = ['syntax = "proto3";', "package shop.v1;", *([head] if head else []), f"message {message} {{"]
    return SchemaText(type="PROTOBUF", schema="\n".join([*lines, *(f"  {field}" for field in fields), "}", ""]))


FIRST = protobuf("string id = 1;")
SECOND = protobuf("string id = 1;", "int64 amount = 2;")
THIRD = protobuf("string id = 1;", "int64 amount = 2;", "string note = 3;")
BROKEN = protobuf("int64 id = 1;")
UNREADABLE = SchemaText(type="PROTOBUF", schema="this is no protobuf")
AVRO = SchemaText(type="AVRO", schema='{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}')
JSON = SchemaText(type="JSON", schema='{"type":"object","properties":{"id":{"type":"string"}}}')

NO_LEVEL = (None, "NONE")
"""Of a subject that has no level of its own, on a registry whose level is NONE: Apicurio tells the registry's."""


class Registry(ABC):
    """A registry, and the operator's clients of it."""

    @abstractmethod
    def client(self, fence: Fence | None = None) -> RegistryClient:
        """Make one."""

    @abstractmethod
    def client_of_one_that_is_away(self) -> RegistryClient:
        """Make one of a registry that doesn't answer."""


class FakeOne(Registry):
    def __init__(self) -> None:
        self._subjects = FakeSubjects()

    def client(self, fence: Fence | None = None) -> RegistryClient:
        return FakeRegistryClient(self._subjects, fence)

    def client_of_one_that_is_away(self) -> RegistryClient:
        away = FakeSubjects()
        away.is_away = True
        return FakeRegistryClient(away)


class RealOne(Registry):
    def __init__(self, url: str) -> None:
        self._url = url

    def client(self, fence: Fence | None = None) -> RegistryClient:
        return RegistryClient(self._url, {}, fence or open_fence(), OperatorMetrics())

    def client_of_one_that_is_away(self) -> RegistryClient:
        return RegistryClient(f"http://127.0.0.1:{free_port()}", {}, open_fence(), OperatorMetrics())


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a registry that has just begun on a busy machine more time than one that serves."""
    for name in ("READ_SECONDS_MAX", "WRITE_SECONDS_MAX"):
        monkeypatch.setattr(registry_module, name, 30.0)


@pytest.fixture(params=["fake", pytest.param("apicurio", marks=pytest.mark.part("registry"))])
def place(request: pytest.FixtureRequest) -> Registry:
    return FakeOne() if request.param == "fake" else RealOne(request.getfixturevalue("registry_url"))


@pytest.fixture
async def registry(place: Registry) -> AsyncIterator[RegistryClient]:
    client = place.client()
    yield client
    await client.close()


@pytest.fixture
def subject() -> str:
    """Name a subject that nobody else uses, and that has to be quoted."""
    return f"{uuid4().hex[:12]}/orders value"


async def test_a_registry_that_is_there_answers(registry: RegistryClient) -> None:
    await registry.check()
    assert await registry.identity() is None


async def test_an_unknown_subject_is_no_error(registry: RegistryClient, subject: str) -> None:
    assert await registry.versions(subject) == ()
    assert await registry.level(subject) is None
    assert await registry.look_up(subject, FIRST) is None
    assert await registry.incompatibilities(subject, FIRST, ()) == ()
    await registry.soft_delete(subject)
    await registry.forget_level(subject)


@pytest.mark.parametrize("text", [FIRST, AVRO, JSON], ids=["protobuf", "avro", "json"])
async def test_a_schema_is_found_under_the_id_that_registering_gave(
    registry: RegistryClient, subject: str, text: SchemaText
) -> None:
    schema_id = await registry.register(subject, text)

    found = await registry.look_up(subject, text)

    assert found is not None
    assert (found.id, found.version) == (schema_id, 1)
    assert await registry.versions(subject) == (1,)


async def test_registering_a_schema_again_makes_no_version(registry: RegistryClient, subject: str) -> None:
    first = await registry.register(subject, FIRST)
    second = await registry.register(subject, SECOND)

    assert await registry.register(subject, FIRST) == first
    assert await registry.register(subject, SECOND) == second
    assert await registry.versions(subject) == (1, 2)


async def test_each_version_is_told_by_its_schema(registry: RegistryClient, subject: str) -> None:
    await registry.register(subject, FIRST)
    await registry.register(subject, SECOND)

    versions = [found.version if found else None for found in [await registry.look_up(subject, FIRST)]]
    versions += [found.version if found else None for found in [await registry.look_up(subject, SECOND)]]

    assert versions == [1, 2]
    assert await registry.look_up(subject, THIRD) is None


async def test_a_level_is_the_subjects_own_until_it_is_forgotten(registry: RegistryClient, subject: str) -> None:
    await registry.register(subject, FIRST)
    assert await registry.level(subject) in NO_LEVEL

    await registry.set_level(subject, "BACKWARD")
    assert await registry.level(subject) == "BACKWARD"
    await registry.set_level(subject, "FULL_TRANSITIVE")
    assert await registry.level(subject) == "FULL_TRANSITIVE"

    await registry.forget_level(subject)
    assert await registry.level(subject) in NO_LEVEL


async def test_a_level_is_kept_for_a_subject_that_has_no_version_yet(registry: RegistryClient, subject: str) -> None:
    await registry.set_level(subject, "BACKWARD")

    assert await registry.level(subject) == "BACKWARD"
    await registry.register(subject, FIRST)
    assert await registry.level(subject) == "BACKWARD"


@pytest.mark.parametrize("level", ["BACKWARD", "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"])
async def test_each_version_that_is_asked_of_says_what_breaks_it(
    registry: RegistryClient, subject: str, level: str
) -> None:
    await registry.register(subject, FIRST)
    await registry.register(subject, SECOND)
    await registry.set_level(subject, level)

    complaints = await registry.incompatibilities(subject, BROKEN, (1, 2))

    assert [complaint.split(":")[0] for complaint in complaints] == ["version 1", "version 2"]
    assert len(await registry.incompatibilities(subject, BROKEN, (2,))) == 1
    # Asking registers nothing.
    assert await registry.versions(subject) == (1, 2)


@pytest.mark.parametrize("level", ["BACKWARD", "BACKWARD_TRANSITIVE"])
async def test_one_more_field_breaks_nothing_that_was_written_before(
    registry: RegistryClient, subject: str, level: str
) -> None:
    await registry.register(subject, FIRST)
    await registry.register(subject, SECOND)
    await registry.set_level(subject, level)

    assert await registry.incompatibilities(subject, THIRD, (1, 2)) == ()
    await registry.register(subject, THIRD)
    assert await registry.versions(subject) == (1, 2, 3)


async def test_without_a_level_everything_is_compatible(registry: RegistryClient, subject: str) -> None:
    await registry.register(subject, FIRST)
    await registry.set_level(subject, "NONE")

    assert await registry.incompatibilities(subject, BROKEN, (1,)) == ()
    await registry.register(subject, BROKEN)
    assert await registry.versions(subject) == (1, 2)


async def test_what_breaks_the_level_is_refused_and_not_registered(registry: RegistryClient, subject: str) -> None:
    await registry.register(subject, FIRST)
    await registry.set_level(subject, "BACKWARD")

    with pytest.raises(IncompatibleError) as refused:
        await registry.register(subject, BROKEN)

    assert refused.value.reason == "Incompatible"
    assert await registry.versions(subject) == (1,)
    assert await registry.look_up(subject, BROKEN) is None


async def test_a_schema_that_nobody_can_read_is_refused(registry: RegistryClient, subject: str) -> None:
    with pytest.raises(RefusedError) as refused:
        await registry.register(subject, UNREADABLE)
    assert refused.value.reason == "SchemaInvalid"
    assert await registry.versions(subject) == ()

    await registry.register(subject, FIRST)
    await registry.set_level(subject, "BACKWARD")
    with pytest.raises(RefusedError) as refused:
        await registry.incompatibilities(subject, UNREADABLE, (1,))
    assert refused.value.reason == "SchemaInvalid"


async def test_a_schema_may_import_what_another_subject_has(registry: RegistryClient, subject: str) -> None:
    await registry.register(f"{subject}.money", protobuf("int64 units = 1;", message="Money"))
    importing = protobuf("Money total = 1;", head='import "money.proto";')
    reference = SchemaReference(name="money.proto", subject=f"{subject}.money", version=1)
    text = SchemaText(type="PROTOBUF", schema=importing.schema, references=(reference,))

    schema_id = await registry.register(subject, text)

    found = await registry.look_up(subject, text)
    assert found is not None
    assert found.id == schema_id


async def test_a_hidden_subject_has_no_versions_and_registering_brings_it_back(
    registry: RegistryClient, subject: str
) -> None:
    await registry.register(subject, FIRST)
    await registry.register(subject, SECOND)

    await registry.soft_delete(subject)

    assert await registry.versions(subject) == ()
    await registry.soft_delete(subject)
    schema_id = await registry.register(subject, SECOND)
    found = await registry.look_up(subject, SECOND)
    assert found is not None
    assert found.id == schema_id
    assert await registry.versions(subject) == (found.version,)


async def test_behind_a_closed_fence_everything_is_read_and_nothing_written(
    place: Registry, registry: RegistryClient, subject: str
) -> None:
    await registry.register(subject, FIRST)
    fenced = place.client(Fence())
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: fenced.register(subject, SECOND),
        lambda: fenced.set_level(subject, "FULL"),
        lambda: fenced.forget_level(subject),
        lambda: fenced.soft_delete(subject),
    ]

    for write in writes:
        with pytest.raises(NotLeaderError):
            await write()

    assert await fenced.versions(subject) == (1,)
    assert await fenced.level(subject) in NO_LEVEL
    await fenced.close()


async def test_a_registry_that_does_not_answer_is_said_to_be_unreachable(place: Registry, subject: str) -> None:
    away = place.client_of_one_that_is_away()
    calls: list[Callable[[], Awaitable[object]]] = [
        away.check,
        lambda: away.versions(subject),
        lambda: away.level(subject),
        lambda: away.look_up(subject, FIRST),
        lambda: away.incompatibilities(subject, FIRST, (1,)),
        lambda: away.register(subject, FIRST),
        lambda: away.set_level(subject, "FULL"),
        lambda: away.soft_delete(subject),
    ]

    for call in calls:
        with pytest.raises(UnavailableError) as unavailable:
            await call()
        assert unavailable.value.reason == "RegistryUnreachable"
    await away.close()


async def test_of_two_who_set_the_first_level_at_once_one_may_be_told_to_try_again(
    registry: RegistryClient, subject: str
) -> None:
    await registry.register(subject, FIRST)

    answers = await asyncio.gather(*(registry.set_level(subject, "FULL") for _ in range(6)), return_exceptions=True)

    assert {answer.reason for answer in answers if isinstance(answer, UnavailableError)} <= {"RegistryBusy"}
    assert [answer for answer in answers if answer is not None and not isinstance(answer, UnavailableError)] == []
    assert await registry.level(subject) == "FULL"
