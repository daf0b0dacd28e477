"""The census: what each service's chart has, all of it at once."""

import pytest

from services.runtime.lifecycle import STOP_SECONDS_MAX
from tests.charts.chart_values import NEEDED, SERVICES, everything_of
from tests.support.helm import CHARTS, HelmError, Manifest, one, render
from tradeflow_operator.reconcile.kafka_address import AUTHORITY_FILE, AUTHORITY_KEY

pytestmark = [pytest.mark.part("helm")]

KINDS_OF_ALL = {
    "Deployment",
    "HTTPRoute",
    "HorizontalPodAutoscaler",
    "NetworkPolicy",
    "Pod",
    "PodDisruptionBudget",
    "PrometheusRule",
    "Service",
    "ServiceAccount",
    "ServiceMonitor",
}


@pytest.fixture(scope="module", params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def everything(service: str) -> list[Manifest]:
    return render(service, everything_of(service))


def pod_of(manifests: list[Manifest]) -> Manifest:
    spec: Manifest = one(manifests, "Deployment")["spec"]["template"]["spec"]
    return spec


def test_a_chart_has_every_item_of_the_census(service: str, everything: list[Manifest]) -> None:
    expected = KINDS_OF_ALL | ({"GRPCRoute"} if service != "gateway" else set())

    assert {manifest["kind"] for manifest in everything} == expected
    for file in ("values.schema.json", "README.md", "templates/NOTES.txt"):
        assert (CHARTS / service / file).exists()
    assert list((CHARTS / service / "tests").glob("*_test.yaml"))


def test_keda_scales_a_service_instead(service: str) -> None:
    manifests = render(service, {**NEEDED[service], "keda": {"enabled": True}})

    assert one(manifests, "ScaledObject")["spec"]["scaleTargetRef"]["name"] == f"shop-{service}"
    assert "replicas" not in one(manifests, "Deployment")["spec"]


def test_two_scalers_are_refused(service: str) -> None:
    both = {"autoscaling": {"enabled": True}, "keda": {"enabled": True}}

    with pytest.raises(HelmError, match="exclude each other"):
        render(service, {**NEEDED[service], **both})


@pytest.mark.parametrize("scaler", ["autoscaling", "keda"])
def test_consumers_are_never_more_than_partitions(service: str, scaler: str) -> None:
    values = {**NEEDED[service], scaler: {"enabled": True, "maxReplicas": 50}}
    kind, key = ("ScaledObject", "maxReplicaCount") if scaler == "keda" else ("HorizontalPodAutoscaler", "maxReplicas")

    most = one(render(service, values), kind)["spec"][key]

    assert most == (50 if service == "gateway" else 6)


def test_pods_are_restricted(everything: list[Manifest]) -> None:
    pod = pod_of(everything)

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_pods_get_no_token_and_stand_apart(everything: list[Manifest]) -> None:
    pod = pod_of(everything)

    assert pod["automountServiceAccountToken"] is False
    assert {spread["topologyKey"] for spread in pod["topologySpreadConstraints"]} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }


def test_metrics_of_the_gateway_are_reached_by_a_service_that_is_never_public() -> None:
    manifests = render("gateway", {**everything_of("gateway"), "service": {"type": "LoadBalancer"}})
    container = pod_of(manifests)["containers"][0]
    port = next(each["containerPort"] for each in container["ports"] if each["name"] == "metrics")
    told = {variable["name"]: variable.get("value") for variable in container["env"]}
    public, apart = one(manifests, "Service", "shop-gateway"), one(manifests, "Service", "shop-gateway-metrics")

    assert told["TRADEFLOW_GATEWAY_METRICS_HOST"] == told["TRADEFLOW_GATEWAY_HTTP_HOST"]
    assert told["TRADEFLOW_GATEWAY_METRICS_PORT"] == str(port)
    assert [each["name"] for each in public["spec"]["ports"]] == ["http"]
    assert [(each["name"], each["port"]) for each in apart["spec"]["ports"]] == [("metrics", port)]
    assert apart["spec"]["clusterIP"] == "None"


def test_each_process_is_scraped_once_where_it_shows_metrics(service: str, everything: list[Manifest]) -> None:
    monitor = one(everything, "ServiceMonitor")["spec"]
    [endpoint] = monitor["endpoints"]
    scraped = [
        manifest["metadata"]["name"]
        for manifest in everything
        if manifest["kind"] == "Service" and is_selected(manifest["metadata"]["labels"], monitor["selector"])
    ]
    expected, port = ("shop-gateway-metrics", "metrics") if service == "gateway" else (f"shop-{service}", "http")

    assert (scraped, endpoint["port"]) == ([expected], port)


def is_selected(labels: dict[str, str], selector: Manifest) -> bool:
    """Tell whether a selector finds labels."""
    wanted = {rule["key"]: rule["operator"] == "Exists" for rule in selector["matchExpressions"]}
    return selector["matchLabels"].items() <= labels.items() and all(
        (key in labels) == there for key, there in wanted.items()
    )


def test_a_service_enters_kafka_by_the_secret_that_an_event_access_writes(service: str) -> None:
    manifests = render(service, {**NEEDED[service], "broker": {"existingSecret": f"{service}-kafka"}})
    pod = pod_of(manifests)
    told = {variable["name"]: variable.get("valueFrom") for variable in pod["containers"][0]["env"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    [authority] = [volume for volume in pod["volumes"] if volume["name"] == "broker-authority"]
    [entry] = authority["secret"]["items"]

    secret = {"name": f"{service}-kafka", "key": "url"}
    assert told[f"TRADEFLOW_{service.upper()}_BROKER_URL"] == {"secretKeyRef": secret}
    assert authority["secret"]["secretName"] == f"{service}-kafka"
    assert authority["secret"]["optional"] is True, "most authorities are public"
    assert (entry["key"], f"{mounts['broker-authority']}/{entry['path']}") == (AUTHORITY_KEY, AUTHORITY_FILE)


def test_nothing_is_mounted_of_a_url_among_the_values(service: str) -> None:
    pod = pod_of(render(service, {**NEEDED[service], "broker": {"url": "kafka://kafka:9092"}}))

    assert "broker-authority" not in {volume["name"] for volume in pod["volumes"]}


def test_a_digest_wins_over_a_tag(everything: list[Manifest]) -> None:
    pod = pod_of(everything)

    images = {container["image"] for container in [*pod["containers"], *pod.get("initContainers", [])]}

    assert images == {f"tradeflow@sha256:{'a' * 64}"}


def test_a_pod_is_killed_only_after_its_own_bound(everything: list[Manifest]) -> None:
    pod = pod_of(everything)
    environment = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
    unready_seconds = next(float(value or 0) for name, value in environment.items() if name.endswith("UNREADY_SECONDS"))
    readiness = pod["containers"][0]["readinessProbe"]

    assert pod["terminationGracePeriodSeconds"] == 30 > STOP_SECONDS_MAX + unready_seconds
    assert unready_seconds > readiness["periodSeconds"]


@pytest.mark.parametrize(("unready_seconds", "least_seconds"), [(0, 30), (5, 30), (12, 33), (12.5, 33), (60, 81)])
def test_a_pod_that_serves_on_for_longer_is_killed_later(
    service: str, unready_seconds: float, least_seconds: int
) -> None:
    drain = {"unreadySeconds": unready_seconds}

    pod = pod_of(render(service, {**NEEDED[service], "drain": drain}))

    assert pod["terminationGracePeriodSeconds"] >= least_seconds
    assert pod["terminationGracePeriodSeconds"] > STOP_SECONDS_MAX + unready_seconds


def test_a_gateway_whose_connections_get_longer_to_leave_is_killed_later() -> None:
    pod = pod_of(render("gateway", {**NEEDED["gateway"], "settings": {"drain_seconds_max": 15.5}}))

    assert pod["terminationGracePeriodSeconds"] > STOP_SECONDS_MAX + 5 + 15.5


def test_a_pod_is_killed_as_late_as_its_values_say(service: str) -> None:
    pod = pod_of(render(service, {**NEEDED[service], "drain": {"terminationGracePeriodSeconds": 90}}))

    assert pod["terminationGracePeriodSeconds"] == 90


def test_only_the_arrows_of_the_flow_are_let_through() -> None:
    callers = {
        name: {
            peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
            for rule in one(render(name, NEEDED[name]), "NetworkPolicy")["spec"]["ingress"]
            for peer in rule.get("from", [])
            if "namespaceSelector" not in peer
        }
        for name in SERVICES
    }

    assert callers == {
        "ledger": {"gateway", "orders", "ledger"},
        "orders": {"gateway"},
        "gateway": {"ledger", "orders"},
    }


def test_what_one_service_calls_the_other_lets_in() -> None:
    policies = {name: one(render(name, NEEDED[name]), "NetworkPolicy")["spec"] for name in SERVICES}
    deployments = {name: pod_of(render(name, NEEDED[name])) for name in SERVICES}
    calls = set[tuple[str, str]]()
    for name, policy in policies.items():
        for rule in policy["egress"]:
            for peer in rule.get("to", []):
                called = peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/component")
                if called is None:
                    continue
                ports = {port["name"]: port["containerPort"] for port in deployments[called]["containers"][0]["ports"]}
                let_in = {
                    ports[port["port"]]
                    for entry in policies[called]["ingress"]
                    for caller in entry.get("from", [])
                    if caller.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/component") == name
                    for port in entry["ports"]
                }
                assert {port["port"] for port in rule["ports"]} <= let_in
                calls.add((name, called))
    assert {("gateway", "orders"), ("gateway", "ledger"), ("orders", "ledger")} <= calls


@pytest.mark.parametrize("service", ["ledger", "orders"])
def test_a_port_of_grpc_is_called_plain_text_only_where_it_is(service: str) -> None:
    plain, encrypted = (
        [
            port.get("appProtocol")
            for manifest in render(service, {**NEEDED[service], "grpcTls": tls})
            if manifest["kind"] == "Service"
            for port in manifest["spec"]["ports"]
            if port["name"] == "grpc"
        ]
        for tls in ({}, {"existingSecret": "tls"})
    )

    assert plain == ["kubernetes.io/h2c", "kubernetes.io/h2c"]
    assert encrypted == [None, None]


def test_webhooks_go_out_wherever_the_registry_is() -> None:
    registry = {"schemaRegistry": {"ports": [443], "to": [{"ipBlock": {"cidr": "10.0.0.7/32"}}]}}

    policy = one(render("orders", {**NEEDED["orders"], "networkPolicy": {"parts": registry}}), "NetworkPolicy")

    assert {"ports": [{"protocol": "TCP", "port": 443}]} in policy["spec"]["egress"]


def test_a_misspelt_value_is_refused(service: str) -> None:
    with pytest.raises(HelmError, match="replicaCounts"):
        render(service, {**NEEDED[service], "replicaCounts": 3})


def test_a_setting_that_the_service_does_not_have_is_refused(service: str) -> None:
    with pytest.raises(HelmError, match="no_such_setting"):
        render(service, {**NEEDED[service], "settings": {"no_such_setting": 1}})


@pytest.mark.parametrize("chart", [*SERVICES, "tradeflow-operator"])
def test_an_extra_variable_takes_the_place_of_the_charts_own(chart: str) -> None:
    name = "HOME" if chart == "tradeflow-operator" else f"TRADEFLOW_{chart.upper()}_HTTP_HOST"
    extra = {"name": name, "value": "another"}
    environment = pod_of(render(chart, {**NEEDED[chart], "extraEnv": [extra]}))["containers"][0]["env"]

    assert [variable for variable in environment if variable["name"] == name] == [extra]


def test_a_long_tag_is_cut_to_what_a_label_takes(service: str) -> None:
    tag = f"{'v' * 61}.-{'w' * 60}"

    deployment = one(render(service, {**NEEDED[service], "image": {"tag": tag}}), "Deployment")

    assert deployment["metadata"]["labels"]["app.kubernetes.io/version"] == "v" * 61
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == f"tradeflow:{tag}"


def test_an_extra_variable_comes_last(everything: list[Manifest]) -> None:
    assert pod_of(everything)["containers"][0]["env"][-1] == {"name": "TZ", "value": "UTC"}
