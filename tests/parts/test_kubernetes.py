"""What the API server does here that tests of the operator rely on."""

from collections.abc import Callable

import pytest

from tests.parts.control_plane import ControlPlane
from tests.parts.go_programs import ensure_program
from tests.parts.kubernetes_namespace import KubernetesNamespace, fresh_namespace
from tests.parts.server import PartUnavailableError, Server
from tests.support.waiting import eventually


def config_map(name: str, **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name: str, **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def test_a_namespace_holds_what_its_test_applies_and_nobody_elses(
    kubernetes: KubernetesNamespace, kubernetes_server: ControlPlane
) -> None:
    kubernetes.apply(config_map("mine", colour="red"))
    with fresh_namespace(kubernetes_server) as other:
        other_names = {found["metadata"]["name"] for found in other.all_of("configmaps")}

    assert kubernetes.get("configmap", "mine")["data"] == {"colour": "red"}
    assert "mine" not in other_names


def test_an_object_that_is_not_there_fails_with_the_servers_own_words(kubernetes: KubernetesNamespace) -> None:
    with pytest.raises(AssertionError, match='configmaps "nowhere" not found'):
        kubernetes.get("configmap", "nowhere")


def test_the_audit_tells_each_write_with_what_it_said_and_never_a_secrets_content(
    kubernetes: KubernetesNamespace,
) -> None:
    kubernetes.apply(config_map("open", word="visible"), secret("closed", word="hidden-word"))
    kubernetes.get("configmap", "open")

    writes = [event for event in kubernetes.writes() if event["user"]["username"] == "admin"]

    told = {(event["verb"], event["objectRef"]["resource"], event["objectRef"].get("name")) for event in writes}
    assert {("create", "configmaps", "open"), ("create", "secrets", "closed")} <= told
    assert "visible" in str(writes)
    assert "hidden-word" not in str(list(kubernetes.server.writes()))
    assert not [event for event in writes if event["verb"] == "get"]


async def test_controllers_run_so_a_job_makes_its_pod_and_an_owner_takes_its_own_along(
    kubernetes: KubernetesNamespace,
) -> None:
    container = {"name": "main", "image": "nowhere/nothing:1"}
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    kubernetes.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": spec})
    await eventually(lambda: len(kubernetes.all_of("pods")) == 1, seconds_max=60)

    kubernetes.kubectl("delete", "job", "once", "--cascade=background")

    await eventually(lambda: kubernetes.all_of("pods") == [], seconds_max=60)


@pytest.mark.part("kubernetes")
def test_a_paused_api_server_answers_nobody_and_forgets_nothing(private_server: Callable[..., Server]) -> None:
    server = private_server("kubernetes")
    assert isinstance(server, ControlPlane)
    server.start()
    with fresh_namespace(server) as namespace:
        namespace.apply(config_map("kept", colour="red"))

        server.pause()
        with pytest.raises(AssertionError, match="kubectl"):
            server.kubectl("get", "--raw", "/readyz", "--request-timeout=1s")
        server.resume()
        server.kill()
        server.start()

        assert namespace.get("configmap", "kept")["data"] == {"colour": "red"}


@pytest.mark.ci
def test_a_machine_without_go_says_what_is_missing(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEFLOW_PARTS_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(PartUnavailableError, match=r"kube-apiserver: is built from source: needs Go 1\.26"):
        ensure_program("kube-apiserver")
