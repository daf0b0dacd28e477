"""RateLimitPolicy with a gateway's own file, and DatabaseMigration with Jobs that really run."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.operator.gateways import own_address, slice_of
from tests.parts.home import free_port
from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.gateway_world import gateway_world
from tests.support.operator_process import Operator
from tests.support.operator_shop import OperatorNamespace
from tests.support.platform import REPOSITORY
from tests.support.waiting import eventually

Start = Callable[..., Operator]

LIMITS, MIGRATION = "RateLimitPolicy", "DatabaseMigration"

SECONDS_MAX = 120.0
"""For what takes a second or two on an idle machine."""

A_LIMIT = {"name": "orders", "per": "user", "limit": 5, "windowSeconds": 60, "routeClass": "write"}


async def until_says(shop: OperatorNamespace, kind: str, name: str, status: str, reason: str | None = None) -> None:
    """Wait for Ready; what runs in this process goes on meanwhile."""
    await eventually(lambda: shop.says(kind, name, status, reason), seconds_max=SECONDS_MAX)


async def test_limits_change_a_running_gateway_which_says_when_they_hold(
    operator_namespace: OperatorNamespace, start_operator: Start, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    mounted = tmp_path / "rate-limits.json"
    shop.apply(LIMITS, "limits", limits=[A_LIMIT], gateway={"service": "gateway"})
    await until_says(shop, LIMITS, "limits", "False", "NoGateway")
    host, port = own_address(), free_port()
    async with gateway_world(tmp_path, rate_limits_file=mounted, http_host=host, http_port=port):
        namespace.apply(slice_of("gateway", host, port))
        await until_says(shop, LIMITS, "limits", "False", "GatewayRefused")
        mounted.write_text(_document(namespace))
        await until_says(shop, LIMITS, "limits", "True", "Enforced")

        shop.apply(LIMITS, "limits", limits=[A_LIMIT | {"limit": 1}], gateway={"service": "gateway"})
        await until_says(shop, LIMITS, "limits", "False", "GatewaysBehind")
        mounted.write_text(_document(namespace))
        await until_says(shop, LIMITS, "limits", "True", "Enforced")
        assert json.loads(_document(namespace))["limits"][0]["limit"] == 1

        # Drift: somebody edits the ConfigMap.
        edited = json.dumps({"data": {"rate-limits.json": "{}"}})
        namespace.kubectl("patch", "configmap", "limits", "--patch", edited)
        await eventually(lambda: "orders" in _document(namespace), seconds_max=SECONDS_MAX)

    namespace.kubectl("delete", "ratelimitpolicy", "limits", "--timeout=30s")
    assert "orders" in _document(namespace)  # Retain is the default


def test_limits_do_not_replace_those_of_others(operator_namespace: OperatorNamespace, start_operator: Start) -> None:
    shop = operator_namespace
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "theirs"},
        "data": {"rate-limits.json": "{}"},
    }
    shop.namespace.apply(theirs)
    start_operator()

    shop.apply(LIMITS, "limits", limits=[A_LIMIT], configMapName="theirs")
    shop.wait_for(LIMITS, "limits", "False", "NotAdopted")
    shop.apply(LIMITS, "limits", limits=[A_LIMIT], configMapName="theirs", adoptionPolicy="Adopt")
    shop.wait_for(LIMITS, "limits", "True")


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"roles": ["buyer"], "per": "ip"}, "an address has no roles"),
        ({"limit": 0}, "greater than or equal to 1"),
        ({"name": "No"}, "should match"),
    ],
)
def test_bad_limits_are_refused_by_the_api_server(
    operator_namespace: OperatorNamespace, limit: dict[str, Any], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        operator_namespace.apply(LIMITS, "limits", limits=[A_LIMIT | limit])


def _document(namespace: KubernetesNamespace) -> str:
    return str(namespace.get("configmap", "limits")["data"]["rate-limits.json"])


class Kubelet:
    """Runs what Pods say as processes of this machine, and tells how they ended, as a kubelet does."""

    def __init__(self, namespace: KubernetesNamespace, folder: Path) -> None:
        self._namespace = namespace
        self._folder = folder
        self.ran: list[list[str]] = []

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            for pod in await asyncio.to_thread(self._namespace.all_of, "pods"):
                if pod["status"].get("phase") == "Pending" and "containerStatuses" not in pod["status"]:
                    await asyncio.to_thread(self._run, pod)
            await asyncio.sleep(0.2)

    def _run(self, pod: dict[str, Any]) -> None:
        container, name = pod["spec"]["containers"][0], pod["metadata"]["name"]
        last_words = self._folder / f"{name}.last-words"
        words = [
            str(last_words) if word == container["terminationMessagePath"] else word for word in container["command"]
        ]
        self.ran.append(container["command"])
        environment = {each["name"]: self._value(each["valueFrom"]["secretKeyRef"]) for each in container["env"]}
        ended = subprocess.run(
            [sys.executable, "-m", "services.embedded", *words[1:]],
            env={**os.environ, **environment},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        said = last_words.read_text() if last_words.exists() else (ended.stderr[-2000:] if ended.returncode else "")
        terminated = {"exitCode": ended.returncode, "message": said, "finishedAt": "2030-01-01T00:00:00Z"}
        status = {
            "phase": "Failed" if ended.returncode else "Succeeded",
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": terminated},
                }
            ],
        }
        self._namespace.kubectl("patch", "pod", name, "--subresource=status", "--patch", json.dumps({"status": status}))

    def _value(self, reference: dict[str, str]) -> str:
        encoded = self._namespace.kubectl(
            "get", "secret", reference["name"], f"--output=jsonpath={{.data.{reference['key']}}}"
        )
        decoded = subprocess.run(["base64", "-d"], input=encoded, capture_output=True, text=True, check=True)
        return decoded.stdout


@asynccontextmanager
async def kubelet(namespace: KubernetesNamespace, folder: Path) -> AsyncIterator[Kubelet]:
    runner = Kubelet(namespace, folder)
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_migration_shows_its_plan_waits_for_a_word_and_runs_what_was_approved(
    operator_namespace: OperatorNamespace, start_operator: Start, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    url = f"sqlite:///{tmp_path}/ledger.db"
    namespace.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database"}, "stringData": {"url": url}}
    )
    spec = {"service": "ledger", "image": "tradeflow:1", "databaseSecret": {"name": "database"}, "approval": "Manual"}
    async with kubelet(namespace, tmp_path) as runner:
        shop.apply(MIGRATION, "ledger", **spec)

        await until_says(shop, MIGRATION, "ledger", "False", "AwaitingApproval")
        status = shop.status(MIGRATION, "ledger")
        assert status["phase"] == "AwaitingApproval"
        assert status["pending"][0]["statements"] > 0
        assert not (tmp_path / "ledger.db").exists()

        namespace.kubectl("annotate", "databasemigration", "ledger", "tradeflow.dev/approved=something-else")
        namespace.kubectl(
            "annotate", "--overwrite", "databasemigration", "ledger", f"tradeflow.dev/approved={status['planDigest']}"
        )
        await until_says(shop, MIGRATION, "ledger", "True", "Applied")

    after = shop.status(MIGRATION, "ledger")
    assert after["current"] == after["target"] == status["target"]
    assert [words[2] for words in runner.ran] == ["plan", "apply"]
    assert [each["name"] for each in status["pending"]] == runner.ran[1][runner.ran[1].index("--phase") + 3 :: 2]
    namespace.kubectl("delete", "databasemigration", "ledger", "--timeout=30s")
    await eventually(lambda: namespace.all_of("jobs") == [], seconds_max=SECONDS_MAX)
    assert (tmp_path / "ledger.db").exists()


async def test_a_migration_that_fails_says_what_the_job_said_and_another_target_is_refused(
    operator_namespace: OperatorNamespace, start_operator: Start, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    url = f"sqlite:///{tmp_path}/orders.db"
    namespace.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "right"}, "stringData": {"url": url}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong"}, "stringData": {"url": "postgres://h/d"}},
    )
    spec = {"service": "orders", "image": "tradeflow:1"}
    async with kubelet(namespace, tmp_path):
        shop.apply(MIGRATION, "target", **spec, databaseSecret={"name": "right"}, targetRevision="other")
        await until_says(shop, MIGRATION, "target", "False", "OtherTarget")

    assert not (tmp_path / "orders.db").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"service": "gateway"}, "Unsupported value"),
        ({"image": ""}, "at least 1 chars"),
        ({"phase": "all"}, "Unsupported"),
    ],
)
def test_bad_migrations_are_refused_by_the_api_server(
    operator_namespace: OperatorNamespace, change: dict[str, str], message: str
) -> None:
    spec = {"service": "ledger", "image": "tradeflow:1", "databaseSecret": {"name": "database"}, **change}

    with pytest.raises(AssertionError, match=message):
        operator_namespace.apply(MIGRATION, "ledger", **spec)


def test_the_service_of_a_migration_cannot_be_changed(operator_namespace: OperatorNamespace) -> None:
    spec = {"service": "ledger", "image": "tradeflow:1", "databaseSecret": {"name": "database"}}
    operator_namespace.apply(MIGRATION, "ledger", **spec)

    with pytest.raises(AssertionError, match="another service has other tables"):
        operator_namespace.apply(MIGRATION, "ledger", **(spec | {"service": "orders"}))
