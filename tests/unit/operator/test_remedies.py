"""What is refused says what to do about it."""

import pytest

from tests.support.http_upstream import answering, serving_upstream
from tests.support.operator_world import NAMESPACE, OperatorProcess, OperatorWorld
from tests.support.platform_world import PlatformWorld
from tradeflow_operator.clients.fence import open_fence
from tradeflow_operator.clients.kubernetes import object_path
from tradeflow_operator.clients.registry import RegistryClient
from tradeflow_operator.errors import RefusedError
from tradeflow_operator.metrics import OperatorMetrics

SCHEMA = "EventSchema"
FIRST = 'syntax = "proto3"; message A { string a = 1; string b = 2; }'
WITHOUT_B = 'syntax = "proto3"; message A { string a = 1; }'


async def message_of(world: OperatorWorld, kind: str, name: str, reason: str) -> str:
    await OperatorProcess(world).settle()
    condition = world.conditions(kind, name)["Ready"]
    assert condition["reason"] == reason
    return str(condition["message"])


async def test_a_connection_without_a_registry_says_what_to_set() -> None:
    world = OperatorWorld()
    world.create("KafkaConnection", "bare", bootstrapServers=["kafka:9092"])
    world.create(SCHEMA, "orders", subject="s", type="PROTOBUF", schema=FIRST, connectionRef={"name": "bare"})

    assert "set it" in await message_of(world, SCHEMA, "orders", "RegistryNotConfigured")


async def test_a_schema_that_breaks_others_says_what_to_change() -> None:
    world = OperatorWorld()
    world.create(SCHEMA, "orders", subject="s", type="PROTOBUF", schema=FIRST, compatibility="BACKWARD")
    await OperatorProcess(world).settle()
    world.change(SCHEMA, "orders", spec={"schema": WITHOUT_B})

    message = await message_of(world, SCHEMA, "orders", "Incompatible")

    assert message.endswith("Change the schema, or spec.compatibility.")


async def test_a_config_map_with_another_schema_says_what_to_change() -> None:
    world = OperatorWorld()
    path = object_path("api/v1", "configmaps", NAMESPACE)
    world.cluster.put(path, {"metadata": {"name": "schemas"}, "data": {"a.proto": FIRST}})
    source = {"configMap": "schemas", "key": "a.proto", "sha256": "0" * 64}
    world.create(SCHEMA, "orders", subject="s", type="PROTOBUF", schemaFrom=source)

    assert "Change one of the two" in await message_of(world, SCHEMA, "orders", "SchemaHashDiffers")


async def test_a_registry_that_lets_nobody_in_says_where_the_user_belongs() -> None:
    async with serving_upstream() as upstream:
        upstream.answer = answering(401, b"")
        client = RegistryClient(upstream.url, {}, open_fence(), OperatorMetrics())

        with pytest.raises(RefusedError, match="registry-username and registry-password") as refused:
            await client.check()
        await client.close()

    assert refused.value.reason == "RegistryForbidden"


async def test_a_deployment_of_others_says_how_to_get_on() -> None:
    world = PlatformWorld()
    world.deploy("ledger", "1", release="theirs")
    world.bench.create("shop", version="2")

    await world.visit()

    assert "another releaseName" in str(world.bench.status("shop")["conditions"])
