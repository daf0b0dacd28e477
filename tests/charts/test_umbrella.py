"""The umbrella: three services that find each other, and the resources that they need."""

import json
from typing import Any

import pytest

from services.embedded.commands.schemas import CONTRACTS
from services.ledger.wiring import TOPICS as LEDGER_TOPICS
from services.orders.wiring import TOPICS as ORDERS_TOPICS
from services.runtime.registry.registration import subjects_of
from tests.charts.chart_values import NEEDED, SERVICES
from tests.support.helm import CHARTS, HelmError, Manifest, one, render
from tradeflow_operator.reconcile.event_schema import KIND as SCHEMA
from tradeflow_operator.reconcile.event_schema import EventSchemaSpec, shared_wish
from tradeflow_operator.reconcile.jwt_key_set import JWTKeySetSpec
from tradeflow_operator.resources import parse_resource

LABEL_CHARACTERS_MAX = 63
"""A Service's name is a part of a DNS name."""

SERVERS = {"bootstrapServers": ["kafka:9092"]}

pytestmark = [pytest.mark.part("helm")]


@pytest.fixture(scope="module")
def umbrella() -> list[Manifest]:
    return render("tradeflow", NEEDED["tradeflow"])


def test_a_cluster_without_the_kinds_is_told_what_to_install_first() -> None:
    with pytest.raises(
        HelmError, match=r"doesn't know KafkaConnection.*\n.*Install the chart tradeflow-operator first"
    ):
        render("tradeflow", NEEDED["tradeflow"], knows=False)


@pytest.mark.parametrize("release", ["gateway", "r" * 43])
def test_a_release_whose_services_would_not_be_found_is_refused(release: str) -> None:
    with pytest.raises(HelmError, match="can't be the release's name"):
        render("tradeflow", NEEDED["tradeflow"], release=release)


@pytest.mark.parametrize("override", ["nameOverride", "fullnameOverride"])
def test_a_service_that_would_not_be_found_is_refused(override: str) -> None:
    renamed = {**NEEDED["tradeflow"]["gateway"], override: "front"}

    with pytest.raises(HelmError, match="it is found by the name shop-gateway"):
        render("tradeflow", {**NEEDED["tradeflow"], "gateway": renamed})


def test_services_of_the_longest_release_find_each_other() -> None:
    release = "r" * 42
    manifests = render("tradeflow", NEEDED["tradeflow"], release=release)

    services = {manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] == "Service"}

    assert {f"{release}-{service}" for service in SERVICES} <= services
    assert max(map(len, services)) <= LABEL_CHARACTERS_MAX


def test_without_resources_the_kinds_are_not_needed() -> None:
    off = ("kafkaConnection", "topics", "schemas", "keySet", "migrations", "observe")

    manifests = render("tradeflow", {**NEEDED["tradeflow"], **{name: {"create": False} for name in off}}, knows=False)

    assert {manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] == "Deployment"} == {
        f"shop-{service}" for service in SERVICES
    }


def test_each_topic_of_the_services_is_asked_for(umbrella: list[Manifest]) -> None:
    topics = {
        manifest["spec"]["topicName"]: manifest["spec"] for manifest in umbrella if manifest["kind"] == "EventTopic"
    }

    assert set(topics) == {*LEDGER_TOPICS, *ORDERS_TOPICS}
    assert {name: spec["partitions"] for name, spec in topics.items() if name.endswith(".dlq")} == {
        "order-events.dlq": 1,
        "wallet-events.dlq": 1,
    }
    assert topics["order-events.dlq"]["config"]["retention.ms"] == "-1"


@pytest.mark.parametrize("where", ["in the URL", "in a Secret"])
def test_topics_and_subjects_have_the_prefix_by_which_installations_share_a_cluster(where: str) -> None:
    url = {"url": "kafka://kafka:9092?tls=true&topic_prefix=shop1."}
    broker = url if where == "in the URL" else {"existingSecret": "kafka"}
    shared = {"issuer": "https://shop.example", "broker": broker, "schemaRegistryUrl": "http://registry"}
    own = {} if where == "in the URL" else {"topics": {"prefix": "shop1."}, "kafkaConnection": SERVERS}

    manifests = render("tradeflow", {**NEEDED["tradeflow"], **own, "global": {"tradeflow": shared}})

    names = {manifest["spec"]["topicName"] for manifest in manifests if manifest["kind"] == "EventTopic"}
    subjects = {manifest["spec"]["subject"] for manifest in manifests if manifest["kind"] == "EventSchema"}
    assert names == {f"shop1.{topic}" for topic in {*LEDGER_TOPICS, *ORDERS_TOPICS}}
    assert subjects == {each.name for each in subjects_of(CONTRACTS, outer_name=lambda topic: f"shop1.{topic}")}


def test_installations_on_one_registry_ask_the_same_of_the_subjects_that_they_share() -> None:
    wishes: list[dict[str, str | None]] = []
    for release, prefix in (("shop", "shop."), ("outlet", "outlet.")):
        broker = {"url": f"kafka://kafka:9092?topic_prefix={prefix}"}
        shared = {"issuer": "https://shop.example", "broker": broker, "schemaRegistryUrl": "http://registry"}
        manifests = render("tradeflow", {**NEEDED["tradeflow"], "global": {"tradeflow": shared}}, release=release)
        specs = [parse_resource(SCHEMA, each, EventSchemaSpec).spec for each in manifests if each["kind"] == SCHEMA]
        wishes.append({spec.subject: shared_wish(spec) for spec in specs})

    both = wishes[0].keys() & wishes[1].keys()
    assert both == {file.name for contract in CONTRACTS for file in contract.schema.imports}
    assert {subject: wishes[0][subject] for subject in both} == {subject: wishes[1][subject] for subject in both}
    assert None not in wishes[0].values()


@pytest.mark.parametrize("service", ["ledger", "orders"])
def test_callers_know_the_addresses_of_pods_that_arent_ready_yet(umbrella: list[Manifest], service: str) -> None:
    headless = one(umbrella, "Service", f"shop-{service}-headless")["spec"]

    assert headless["publishNotReadyAddresses"] is True


def test_the_operator_speaks_tls_to_kafka_where_that_is_said() -> None:
    values = NEEDED["tradeflow"]
    of_public_authority = {**values, "kafkaConnection": {**values.get("kafkaConnection", {}), "tls": True}}

    assert one(render("tradeflow", of_public_authority), "KafkaConnection")["spec"]["tls"] is True
    assert "tls" not in one(render("tradeflow", values), "KafkaConnection")["spec"]


def test_no_resource_takes_data_away(umbrella: list[Manifest]) -> None:
    policies = {manifest["spec"].get("deletionPolicy", "Retain") for manifest in umbrella if "spec" in manifest}

    assert policies == {"Retain"}


def test_the_gateway_signs_with_the_keys_that_the_key_set_writes(umbrella: list[Manifest]) -> None:
    key_set = one(umbrella, "JWTKeySet")["spec"]
    volumes = one(umbrella, "Deployment", "shop-gateway")["spec"]["template"]["spec"]["volumes"]

    assert {"name": "keys", "secret": {"secretName": key_set["secretName"], "defaultMode": 0o440}} in volumes
    assert key_set["gateway"]["service"] == one(umbrella, "Service", "shop-gateway")["metadata"]["name"]


def test_a_key_outlives_its_tokens_and_waits_for_the_caches_of_it() -> None:
    settings = {"service_token_seconds": 3600, "jwks_max_age_seconds": 1800}
    gateway = {**NEEDED["tradeflow"]["gateway"], "settings": settings}

    manifests = render("tradeflow", {**NEEDED["tradeflow"], "gateway": gateway})
    policy = parse_resource("JWTKeySet", one(manifests, "JWTKeySet"), JWTKeySetSpec).spec.policy()

    assert policy.max_token_ttl_seconds >= settings["service_token_seconds"]
    assert policy.publish_before_seconds >= settings["jwks_max_age_seconds"] + policy.clock_skew_seconds


@pytest.mark.parametrize("span", ["30d", "720", "weekly"])
def test_a_span_that_the_key_set_would_not_take_is_refused(span: str) -> None:
    with pytest.raises(HelmError, match="/keySet/rotateEvery"):
        render("tradeflow", {**NEEDED["tradeflow"], "keySet": {"rotateEvery": span}})


def test_a_key_that_nothing_rotates_signs_until_somebody_asks_for_another() -> None:
    manifests = render("tradeflow", {**NEEDED["tradeflow"], "keySet": {"rotateEvery": ""}})

    assert "rotateEvery" not in one(manifests, "JWTKeySet")["spec"]


def test_the_gateway_knows_the_digest_of_the_secret_that_orders_shows(umbrella: list[Manifest]) -> None:
    name = one(umbrella, "Secret", "shop-clients")["metadata"]["name"]

    for service, variable in (("orders", "CLIENT_SECRET"), ("gateway", "CLIENTS")):
        container = one(umbrella, "Deployment", f"shop-{service}")["spec"]["template"]["spec"]["containers"][0]
        sources = {entry["name"]: entry.get("valueFrom", {}).get("secretKeyRef") for entry in container["env"]}
        assert sources[f"TRADEFLOW_{service.upper()}_{variable}"]["name"] == name


def test_migrations_run_the_image_of_their_service() -> None:
    ahead: dict[str, Any] = {"ledger": {**NEEDED["tradeflow"]["ledger"], "image": {"tag": "0.2.0"}}}
    manifests = render("tradeflow", {**NEEDED["tradeflow"], **ahead})

    images = {
        manifest["spec"]["service"]: manifest["spec"]["image"]
        for manifest in manifests
        if manifest["kind"] == "DatabaseMigration"
    }

    assert images == {"ledger": "tradeflow:0.2.0", "orders": "tradeflow:0.1.0"}


def test_migrations_run_where_their_service_runs_and_find_its_files() -> None:
    where = {
        "nodeSelector": {"pool": "money"},
        "tolerations": [{"key": "money", "operator": "Exists"}],
        "priorityClassName": "money",
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    }
    authority = {"name": "database-ca", "secret": {"secretName": "database-ca", "defaultMode": 0o440}}
    mount = {"name": "database-ca", "mountPath": "/etc/db-ca", "readOnly": True}
    own = {**NEEDED["tradeflow"]["ledger"], **where, "extraVolumes": [authority], "extraVolumeMounts": [mount]}
    jobs = {"resources": {"limits": {"memory": "1Gi"}}, "podLabels": {"team": "money"}, "podAnnotations": {"a": "b"}}

    manifests = render("tradeflow", {**NEEDED["tradeflow"], "ledger": own, "migrations": jobs})

    pods = {name: one(manifests, "DatabaseMigration", f"shop-{name}")["spec"]["pod"] for name in ("ledger", "orders")}
    asked = {"labels": {"team": "money"}, "annotations": {"a": "b"}, "resources": jobs["resources"]}
    files = {"fsGroup": 10001, "volumes": [authority], "volumeMounts": [mount]}
    assert pods == {"ledger": {**asked, **where, **files}, "orders": asked}


@pytest.mark.parametrize(
    "volume",
    [
        {"hostPath": {"path": "/etc"}},
        {"persistentVolumeClaim": {"claimName": "dumps"}},
        {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
    ],
)
def test_migrations_take_nothing_of_their_service_that_would_hold_them_up_or_is_not_theirs(
    volume: dict[str, Any],
) -> None:
    apart = {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname"}]}
    own = {
        **NEEDED["tradeflow"]["ledger"],
        "affinity": {"podAntiAffinity": apart},
        "podAnnotations": {"linkerd.io/inject": "enabled"},
        "extraVolumes": [{"name": "extra", **volume}],
        "extraVolumeMounts": [{"name": "extra", "mountPath": "/extra"}],
    }

    manifests = render("tradeflow", {**NEEDED["tradeflow"], "ledger": own})

    assert "pod" not in one(manifests, "DatabaseMigration", "shop-ledger")["spec"]


def test_the_release_that_helm_installs_only_observes(umbrella: list[Manifest]) -> None:
    assert one(umbrella, "TradeFlow")["spec"]["management"] == "Observe"


def test_dashboards_and_alerts_are_packaged() -> None:
    on = {"dashboards": {"enabled": True}, "prometheusRule": {"enabled": True}}
    alerting = {service: {**NEEDED["tradeflow"][service], "prometheusRule": {"enabled": True}} for service in SERVICES}

    manifests = render("tradeflow", {**NEEDED["tradeflow"], **on, **alerting})

    dashboards = {key for manifest in manifests if manifest["kind"] == "ConfigMap" for key in manifest["data"]}
    groups = {
        group["name"]
        for manifest in manifests
        if manifest["kind"] == "PrometheusRule"
        for group in manifest["spec"]["groups"]
    }
    assert dashboards == {f"tradeflow-{file.name}" for file in (CHARTS / "tradeflow/dashboards").glob("*.json")}
    assert {f"tradeflow-{name}" for name in (*SERVICES, "platform")} <= groups


def test_production_values_open_a_way_in_and_say_whose_word_about_callers_is_taken() -> None:
    rendered = render("tradeflow", {}, files=("values-prod.yaml",))

    (container,) = one(rendered, "Deployment", "shop-gateway")["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert one(rendered, "HTTPRoute", "shop-gateway")
    assert json.loads(variables["TRADEFLOW_GATEWAY_TRUSTED_PROXIES"])


@pytest.mark.parametrize("file", ["values-dev.yaml", "values-prod.yaml"])
def test_the_values_that_come_along_fit(file: str) -> None:
    assert render("tradeflow", {}, files=(file,))
