"""TradeFlow on a real cluster out of one resource: it comes, changes, fails and goes by kubectl alone."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import pairwise

import pytest
from confluent_kafka.admin import AdminClient

from services.ledger.wiring import TOPICS as LEDGER_TOPICS
from services.orders.wiring import TOPICS as ORDERS_TOPICS
from tests.cluster.installation import IMAGE_TAG, SERVICES, Installation
from tests.cluster.one_resource import OneResource
from tests.cluster.ordering import while_people_order
from tests.cluster.pod_parts import PodParts
from tests.parts.cluster import PROGRAMS, OneNodeCluster
from tests.support.public_shop import PASSWORD, PublicShop, public_shop, until, until_state

PARTS = ("mysql", "kafka", "redis", "kubernetes", "helm", *PROGRAMS)

pytestmark = [*(pytest.mark.part(name) for name in PARTS), pytest.mark.timeout(1200)]

NEXT, NEWEST = "next", "newest"
"""Tags of the same image: versions, as far as the cluster is concerned."""


@pytest.fixture(scope="module")
def resource(
    cluster: OneNodeCluster, parts: PodParts, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OneResource]:
    """Install the operator, say where the parts are, apply one resource, and wait until it is ready."""
    for tag in (NEXT, NEWEST):
        cluster.tag(f"tradeflow:{IMAGE_TAG}", f"tradeflow:{tag}")
    installation = Installation(cluster=cluster, parts=parts, data=tmp_path_factory.mktemp("data"), namespace="one")
    installation.prepare()
    installation.secret("orders-migrator", url=parts.orders_url)
    installation.secret("kafka", url=parts.broker_url)
    installation.secret("redis", url=parts.redis_url)
    resource = OneResource(installation)
    resource.install_operator(IMAGE_TAG)
    resource.apply(IMAGE_TAG)
    resource.wait_until_it_runs(IMAGE_TAG)
    yield resource
    resource.delete()
    resource.uninstall_operator()


@pytest.fixture
async def shop(resource: OneResource) -> AsyncIterator[PublicShop]:
    """Open a shop at the gateway's Service."""
    async with public_shop(resource.installation.gateway_url(), resource.installation.data) as shop:
        yield shop


async def test_one_resource_is_a_platform_on_which_an_order_settles(shop: PublicShop, resource: OneResource) -> None:
    seller, buyer = await shop.person("merchant"), await shop.person(funds_minor=5_000)
    sku = await shop.product(seller, price_minor=1_200)

    await until_state(buyer, await buyer.client.place_order({sku: 1}), "SETTLED")

    assert (await buyer.balance()).available.amount_minor == 3_800
    told = await until(partial(statuses, resource), lambda seen: seen["InvariantHolds"] == "True", "an audit")
    for of_type in ("ComponentsReady", "MigrationsApplied", "TopicsReady", "KeysReady"):
        assert told[of_type] == "True", of_type


@pytest.mark.soak  # two minutes
async def test_a_change_reaches_one_service_after_the_other_and_loses_no_answer(
    shop: PublicShop, resource: OneResource
) -> None:
    def change() -> None:
        resource.apply(NEXT, labels={"shop.example/change": "first"})
        resource.wait_until_it_runs(NEXT)

    await while_people_order(shop, change)

    pods = [resource.newest_pod(service) for service in SERVICES]
    assert {(pod.image, pod.labels["shop.example/change"]) for pod in pods} == {(f"tradeflow:{NEXT}", "first")}
    for before, after in pairwise(pods):
        assert before.ready_at <= after.made_at


@pytest.mark.soak  # three minutes
async def test_a_failed_migration_leaves_the_old_version_serving_until_the_resource_is_put_right(
    shop: PublicShop, resource: OneResource
) -> None:
    before = resource.version()
    wrong_url = resource.installation.parts.ledger_url.replace("a-password", "wrong-password")
    resource.installation.secret("wrong-database", url=wrong_url)

    await asyncio.to_thread(resource.apply, NEWEST, ledger_database="wrong-database")
    said = await asyncio.to_thread(resource.wait_for, "False", "StepFailed")

    assert "its migrations: The Job tradeflow-ledger-plan" in said
    assert "wrong-password" not in said
    assert resource.conditions()["MigrationsApplied"]["status"] == "False"
    assert {image for service in SERVICES for image in resource.serving(service)} == {f"tradeflow:{before}"}
    await while_people_order(shop)

    await asyncio.to_thread(resource.apply, NEWEST)
    await asyncio.to_thread(resource.wait_until_it_runs, NEWEST)


async def test_who_deletes_the_resource_removes_the_platform_and_finds_the_data_again(
    shop: PublicShop, resource: OneResource
) -> None:
    buyer = await shop.person(funds_minor=4_200)

    await asyncio.to_thread(resource.delete)

    assert {*LEDGER_TOPICS, *ORDERS_TOPICS} <= topics_of(resource.installation.parts)
    await asyncio.to_thread(resource.apply, NEWEST)
    await asyncio.to_thread(resource.wait_until_it_runs, NEWEST)
    async with public_shop(resource.installation.gateway_url(), resource.installation.data) as reopened:
        client = reopened.root.another()
        await client.login(buyer.email, PASSWORD)
        assert (await client.balance("EUR")).available.amount_minor == 4_200


async def statuses(resource: OneResource) -> dict[str, str]:
    conditions = await asyncio.to_thread(resource.conditions)
    return {of_type: condition["status"] for of_type, condition in conditions.items()}


def topics_of(parts: PodParts) -> set[str]:
    admin = AdminClient({"bootstrap.servers": parts.broker_url.removeprefix("kafka://"), "log_level": 0})
    return set(admin.list_topics(timeout=30).topics)
