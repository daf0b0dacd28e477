"""The values that the operator writes for a step of a roll-out mean to the umbrella what the operator means by them."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.charts.chart_values import NEEDED, SERVICES
from tests.support.helm import CHARTS, Manifest, render
from tradeflow_operator.reconcile.platform_health import COMPONENTS, Component, Health
from tradeflow_operator.reconcile.platform_release import TradeFlowSpec, values_of

pytestmark = [pytest.mark.part("helm")]

OLD, NEW, PINNED = "tradeflow:0.1.0", "tradeflow:0.2.0", f"tradeflow@sha256:{'b' * 64}"

SAID_FOR_ALL: dict[str, tuple[Any, Any]] = {
    "issuer": ("https://shop.example", "https://outlet.example"),
    "image.registry": ("old.example", "new.example"),
    "image.repository": ("team/tradeflow", "shop/tradeflow"),
    "image.tag": (None, None),
    "image.digest": (f"sha256:{'c' * 64}", f"sha256:{'d' * 64}"),
    "image.pullPolicy": ("Always", "Never"),
    "imagePullSecrets": ([{"name": "old"}], [{"name": "new"}]),
    "broker.existingSecret": ("kafka-old", "kafka-new"),
    "broker.existingSecretKey": ("old", "new"),
    "broker.url": ("kafka://old:9092", "kafka://new:9092"),
    "schemaRegistryUrl": ("http://old:8080", "http://new:8080"),
    "tracesUrl": ("otlp+http://old:4318/v1/traces", "otlp+http://new:4318/v1/traces"),
    "partitions": (1, 12),
}
"""Two values of each key of global.tradeflow; the tag is the version, which always changes."""


def a_spec(image: str = NEW, **values: Any) -> TradeFlowSpec:
    """Ask for an image, by its digest where it has one."""
    wanted = {**NEEDED["tradeflow"], **values}
    shared = {**wanted["global"]["tradeflow"], "image": {"digest": image.partition("@")[2]}}
    return TradeFlowSpec(version="0.2.0", values={**wanted, "global": {"tradeflow": shared}})


def health_of(images: dict[str, str]) -> Health:
    components = (Component(name=name, image=image, rolled_out=True, release="shop") for name, image in images.items())
    return Health(components=tuple(components))


def said_for_all(key: str, value: Any) -> dict[str, Any]:
    """Return the umbrella's values with one key said for all services; None leaves it out."""
    shared: dict[str, Any] = {"issuer": "https://shop.example", "broker": {"url": "kafka://kafka:9092"}, "image": {}}
    if key == "broker.existingSecretKey":
        shared["broker"] = {"existingSecret": "kafka"}
    *outer, name = key.split(".")
    section = shared[outer[0]] if outer else shared
    if value is not None:
        section[name] = value
    # Without numbers of their own, services are capped by the partitions that are said for all.
    many: dict[str, Any] = {service: {**NEEDED["tradeflow"][service], "replicaCount": 4} for service in SERVICES}
    connection = {"bootstrapServers": ["kafka:9092"]}
    return {**NEEDED["tradeflow"], **many, "global": {"tradeflow": shared}, "kafkaConnection": connection}


def texts_of(values: dict[str, Any]) -> dict[str, str]:
    """Render all of each service, its migrations too."""
    manifests = render("tradeflow", values)
    return {name: yaml.safe_dump_all([each for each in manifests if _is_of(name, each)]) for name in SERVICES}


def _is_of(service: str, manifest: Manifest) -> bool:
    if manifest["kind"] == "DatabaseMigration":
        return bool(manifest["spec"]["service"] == service)
    if manifest["kind"] == "Pod":
        # That of `helm test` has the label of a caller.
        return bool(manifest["metadata"]["name"] == f"shop-{service}-test-ready")
    return bool(manifest["metadata"]["labels"].get("app.kubernetes.io/component") == service)


def images_in(values: dict[str, Any], version: str) -> Health:
    """See each service as values without steps have it."""
    shared = values["global"]["tradeflow"]
    digest = shared["image"].get("digest")
    image = f"registry/tradeflow@{digest}" if digest else f"registry/tradeflow:{version}"
    return health_of(dict.fromkeys(SERVICES, image))


def leaves_of(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves_of(value, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def rendered(values: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the images of services, and of their migrations."""
    services, migrations = {}, {}
    for manifest in render("tradeflow", values):
        name = manifest["metadata"]["name"].removeprefix("shop-")
        if manifest["kind"] == "Deployment":
            services[name] = manifest["spec"]["template"]["spec"]["containers"][0]["image"]
        elif manifest["kind"] == "DatabaseMigration":
            migrations[name] = manifest["spec"]["image"]
    return services, migrations


@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (OLD, PINNED), (PINNED, NEW)])
def test_an_upgrade_reaches_one_service_after_the_other(old: str, new: str) -> None:
    images, before = dict.fromkeys(SERVICES, old), dict(NEEDED["tradeflow"])
    for step in COMPONENTS:
        values = values_of(a_spec(new), health_of(images), step, before=before)
        images[step] = new

        services, migrations = rendered(values)

        assert services == images
        assert migrations == {name: images[name] for name in ("ledger", "orders")}
        before = values


def test_each_key_that_is_said_for_all_is_looked_at() -> None:
    shared = yaml.safe_load((CHARTS / "tradeflow" / "values.yaml").read_text())["global"]["tradeflow"]

    assert set(leaves_of(shared)) == set(SAID_FOR_ALL)


@pytest.mark.parametrize("key", SAID_FOR_ALL)
@pytest.mark.parametrize("change", ["comes", "changes", "goes"])
def test_what_changes_for_all_leaves_services_that_wait_as_they_were(key: str, change: str) -> None:
    first, second = SAID_FOR_ALL[key]
    old = said_for_all(key, None if change == "comes" and key != "issuer" else first)
    new = said_for_all(key, None if change == "goes" and key != "issuer" else second)
    health = images_in(old, "0.1.0")
    before = values_of(TradeFlowSpec(version="0.1.0", values=old), health, "gateway", before={})
    as_it_was = texts_of(before)

    step = texts_of(values_of(TradeFlowSpec(version="0.2.0", values=new), health, "ledger", before=before))

    assert step["ledger"] != as_it_was["ledger"]
    assert {**step, "ledger": ""} == {**as_it_was, "ledger": ""}


def test_a_registry_that_is_said_for_all_reaches_one_service_after_the_other() -> None:
    old, new = (said_for_all("image.registry", registry) for registry in SAID_FOR_ALL["image.registry"])
    health = images_in(old, "0.1.0")
    before = values_of(TradeFlowSpec(version="0.1.0", values=old), health, "gateway", before={})
    wish = TradeFlowSpec(version="0.2.0", values=new)
    expected, as_wished = texts_of(before), texts_of(values_of(wish, health, "gateway", before=before))

    for step in COMPONENTS:
        before = values_of(wish, health, step, before=before)
        expected[step] = as_wished[step]

        assert texts_of(before) == expected


def test_a_service_waits_as_it_was_also_while_the_wish_changes_again() -> None:
    old = said_for_all("tracesUrl", None)
    health = images_in(old, "0.1.0")
    before = values_of(TradeFlowSpec(version="0.1.0", values=old), health, "gateway", before={})
    as_it_was = texts_of(before)
    for collector in SAID_FOR_ALL["tracesUrl"]:
        wish = TradeFlowSpec(version="0.2.0", values=said_for_all("tracesUrl", collector))
        before = values_of(wish, health, "ledger", before=before)

    assert texts_of(before)["gateway"] == as_it_was["gateway"]


def test_a_first_installation_is_the_ledger_and_then_all() -> None:
    first = values_of(a_spec(), Health(), "ledger", before={})
    second = values_of(a_spec(), health_of({"ledger": NEW}), "orders", before=first)

    assert rendered(first) == ({"ledger": NEW}, {"ledger": NEW})
    assert rendered(second)[0] == dict.fromkeys(SERVICES, NEW)


def test_the_operator_makes_no_second_resource_that_observes() -> None:
    kinds = {manifest["kind"] for manifest in render("tradeflow", values_of(a_spec(), Health(), "ledger", before={}))}

    assert "TradeFlow" not in kinds
