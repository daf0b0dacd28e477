"""TradeFlow on a real cluster: installed by Helm, used through the gateway's Service."""

import asyncio
import json
from functools import partial

import pytest

from tests.cluster.installation import RELEASE, SERVICES, Installation, values_of
from tests.cluster.ordering import while_people_order
from tests.parts.cluster import PROGRAMS
from tests.support.public_shop import PASSWORD, PublicShop, next_events, public_shop, until_state

PARTS = ("mysql", "kafka", "redis", "kubernetes", "helm", *PROGRAMS)

pytestmark = [*(pytest.mark.part(name) for name in PARTS), pytest.mark.timeout(1200)]


async def test_an_order_settles_and_its_event_arrives_on_the_websocket(shop: PublicShop) -> None:
    seller, buyer = await shop.person("merchant"), await shop.person(funds_minor=5_000)
    sku = await shop.product(seller, price_minor=1_200)

    order = await buyer.client.place_order({sku: 1})
    settled = await until_state(buyer, order, "SETTLED")
    deposited, *moved = await next_events(buyer, 3)

    assert settled.order_id == order.order_id
    assert (await buyer.balance()).available.amount_minor == 3_800
    assert [event.sequence for event in (deposited, *moved)] == [1, 2, 3]


def test_helm_test_passes(installation: Installation) -> None:
    assert "Phase:          Succeeded" in installation.helm("test", RELEASE)


def test_there_are_two_of_everything_and_no_pod_has_a_token(installation: Installation) -> None:
    for service in SERVICES:
        pods = [json.loads(installation.kubectl("get", pod, "--output", "json")) for pod in installation.pods(service)]

        assert len(pods) == 2
        mounts = [mount["mountPath"] for pod in pods for mount in pod["spec"]["containers"][0]["volumeMounts"]]
        assert "/var/run/secrets/kubernetes.io/serviceaccount" not in mounts


def test_the_namespace_refuses_a_pod_with_more_rights(installation: Installation) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root"},
        "spec": {"containers": [{"name": "root", "image": "tradeflow:test"}]},
    }

    with pytest.raises(AssertionError, match="violates PodSecurity"):
        installation.kubectl("create", "--filename", "-", stdin=json.dumps(pod))


@pytest.mark.soak  # three minutes; an upgrade restarts each service in the same way
async def test_a_rolling_restart_of_each_service_loses_no_answer(shop: PublicShop, installation: Installation) -> None:
    def restart(service: str) -> None:
        installation.kubectl("rollout", "restart", f"deployment/{RELEASE}-{service}")
        installation.wait_for_rollout(service)

    await while_people_order(shop, *(partial(restart, service) for service in SERVICES))


@pytest.mark.soak  # three minutes; faults and kills of single services are continuous integration's on processes
async def test_whichever_pod_is_killed_takes_no_answer_with_it(shop: PublicShop, installation: Installation) -> None:
    def kill_the_oldest(service: str) -> None:
        installation.kubectl("delete", installation.pods(service)[0], "--grace-period=0", "--force")
        installation.wait_for_rollout(service)

    each_pod = [service for service in SERVICES for _ in installation.pods(service)]
    assert len(each_pod) == 6
    await while_people_order(shop, *(partial(kill_the_oldest, service) for service in each_pod))


@pytest.mark.soak  # two minutes; an upgrade ends pods in the same way
async def test_a_pod_that_is_evicted_takes_no_answer_with_it(shop: PublicShop, installation: Installation) -> None:
    def evict(service: str) -> None:
        installation.evict(installation.pods(service)[0])
        installation.wait_for_rollout(service)

    await while_people_order(shop, *(partial(evict, service) for service in SERVICES))


async def test_an_upgrade_loses_no_answer(shop: PublicShop, installation: Installation) -> None:
    values = values_of(installation.parts)
    for service in SERVICES:
        values[service]["podAnnotations"] = {"tradeflow.dev/upgraded": "true"}

    await while_people_order(shop, partial(installation.install, values))


async def test_what_was_uninstalled_goes_on_where_it_was(shop: PublicShop, installation: Installation) -> None:
    buyer = await shop.person(funds_minor=4_200)

    await asyncio.to_thread(installation.uninstall)
    await asyncio.to_thread(installation.install, values_of(installation.parts))

    async with public_shop(installation.gateway_url(), installation.data) as reopened:
        client = reopened.root.another()
        await client.login(buyer.email, PASSWORD)
        assert (await client.balance("EUR")).available.amount_minor == 4_200
