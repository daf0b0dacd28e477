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

from tests.integration.operator.gateways import own_address, slice_of
from tests.integration.operator.key_sets import SECONDS_MAX, a_resource, condition, until_ready
from tests.parts.home import free_port
from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.gateway_world import gateway_world
from tests.support.operator_process import OperatorProcess
from tests.support.platform import REPOSITORY
from tests.support.waiting import eventually

RunOperator = Callable[..., OperatorProcess]

A_LIMIT = {"name": "orders", "per": "user", "limit": 5, "windowSeconds": 60, "routeClass": "write"}


async def test_limits_change_a_running_gateway_which_says_when_they_hold(
    shop: KubernetesNamespace, run_operator: RunOperator, tmp_path: Path
) -> None:
    run_operator()
    mounted = tmp_path / "rate-limits.json"
    shop.apply(a_resource("RateLimitPolicy", "limits", limits=[A_LIMIT], gateway={"service": "gateway"}))
    assert await until_ready(shop, "ratelimitpolicy", "limits", "False") == "NoGateway"
    host, port = own_address(), free_port()
    async with gateway_world(tmp_path, rate_limits_file=mounted, http_host=host, http_port=port):
        shop.apply(slice_of("gateway", host, port))
        await eventually(
            lambda: condition(shop, "ratelimitpolicy", "limits")[1] == "GatewayRefused", seconds_max=SECONDS_MAX
        )
        mounted.write_text(_document(shop))
        assert await until_ready(shop, "ratelimitpolicy", "limits") == "Enforced"

        shop.apply(
            a_resource("RateLimitPolicy", "limits", limits=[A_LIMIT | {"limit": 1}], gateway={"service": "gateway"})
        )
        assert await until_ready(shop, "ratelimitpolicy", "limits", "False") == "GatewaysBehind"
        mounted.write_text(_document(shop))
        assert await until_ready(shop, "ratelimitpolicy", "limits") == "Enforced"
        assert json.loads(_document(shop))["limits"][0]["limit"] == 1

        # Drift: somebody edits the ConfigMap.
        shop.kubectl("patch", "configmap", "limits", "--patch", json.dumps({"data": {"rate-limits.json": "{}"}}))
        await eventually(lambda: "orders" in _document(shop), seconds_max=SECONDS_MAX)

    shop.kubectl("delete", "ratelimitpolicy", "limits", "--timeout=30s")
    assert "orders" in _document(shop)  # Retain is the default


async def test_limits_do_not_replace_those_of_others(shop: KubernetesNamespace, run_operator: RunOperator) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "theirs"},
        "data": {"rate-limits.json": "{}"},
    }
    shop.apply(theirs)
    run_operator()

    shop.apply(a_resource("RateLimitPolicy", "limits", limits=[A_LIMIT], configMapName="theirs"))
    refused = await until_ready(shop, "ratelimitpolicy", "limits", "False")
    shop.apply(
        a_resource("RateLimitPolicy", "limits", limits=[A_LIMIT], configMapName="theirs", adoptionPolicy="Adopt")
    )
    await until_ready(shop, "ratelimitpolicy", "limits")

    assert refused == "NotAdopted"


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"roles": ["buyer"], "per": "ip"}, "an address has no roles"),
        ({"limit": 0}, "greater than or equal to 1"),
        ({"name": "No"}, "should match"),
    ],
)
def test_bad_limits_are_refused_by_the_api_server(
    shop: KubernetesNamespace, limit: dict[str, Any], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        shop.apply(a_resource("RateLimitPolicy", "limits", limits=[A_LIMIT | limit]))


def _document(shop: KubernetesNamespace) -> str:
    return str(shop.get("configmap", "limits")["data"]["rate-limits.json"])


class Kubelet:
    """Runs what Pods say as processes of this machine, and tells how they ended, as a kubelet does."""

    def __init__(self, shop: KubernetesNamespace, folder: Path) -> None:
        self._shop = shop
        self._folder = folder
        self.ran: list[list[str]] = []

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            for pod in await asyncio.to_thread(self._shop.all_of, "pods"):
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
        self._shop.kubectl("patch", "pod", name, "--subresource=status", "--patch", json.dumps({"status": status}))

    def _value(self, reference: dict[str, str]) -> str:
        encoded = self._shop.kubectl(
            "get", "secret", reference["name"], f"--output=jsonpath={{.data.{reference['key']}}}"
        )
        decoded = subprocess.run(["base64", "-d"], input=encoded, capture_output=True, text=True, check=True)
        return decoded.stdout


@asynccontextmanager
async def kubelet(shop: KubernetesNamespace, folder: Path) -> AsyncIterator[Kubelet]:
    runner = Kubelet(shop, folder)
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_migration_shows_its_plan_waits_for_a_word_and_runs_what_was_approved(
    shop: KubernetesNamespace, run_operator: RunOperator, tmp_path: Path
) -> None:
    run_operator()
    url = f"sqlite:///{tmp_path}/ledger.db"
    shop.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database"}, "stringData": {"url": url}})
    spec = {"service": "ledger", "image": "tradeflow:1", "databaseSecret": {"name": "database"}, "approval": "Manual"}
    async with kubelet(shop, tmp_path) as runner:
        shop.apply(a_resource("DatabaseMigration", "ledger", **spec))

        await eventually(
            lambda: condition(shop, "databasemigration", "ledger")[1] == "AwaitingApproval", seconds_max=SECONDS_MAX * 2
        )
        status = shop.get("databasemigration", "ledger")["status"]
        assert status["phase"] == "AwaitingApproval"
        assert status["pending"][0]["statements"] > 0
        assert not (tmp_path / "ledger.db").exists()

        shop.kubectl("annotate", "databasemigration", "ledger", "tradeflow.dev/approved=something-else")
        shop.kubectl(
            "annotate", "--overwrite", "databasemigration", "ledger", f"tradeflow.dev/approved={status['planDigest']}"
        )
        await eventually(
            lambda: condition(shop, "databasemigration", "ledger") == ("True", "Applied"), seconds_max=SECONDS_MAX * 2
        )

    after = shop.get("databasemigration", "ledger")["status"]
    assert after["current"] == after["target"] == status["target"]
    assert [words[2] for words in runner.ran] == ["plan", "apply"]
    assert [each["name"] for each in status["pending"]] == runner.ran[1][runner.ran[1].index("--phase") + 3 :: 2]
    shop.kubectl("delete", "databasemigration", "ledger", "--timeout=30s")
    await eventually(lambda: shop.all_of("jobs") == [], seconds_max=SECONDS_MAX)
    assert (tmp_path / "ledger.db").exists()


async def test_a_migration_that_fails_says_what_the_job_said_and_another_target_is_refused(
    shop: KubernetesNamespace, run_operator: RunOperator, tmp_path: Path
) -> None:
    run_operator()
    url = f"sqlite:///{tmp_path}/orders.db"
    shop.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "right"}, "stringData": {"url": url}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong"}, "stringData": {"url": "postgres://h/d"}},
    )
    spec = {"service": "orders", "image": "tradeflow:1"}
    async with kubelet(shop, tmp_path):
        shop.apply(
            a_resource("DatabaseMigration", "target", **spec, databaseSecret={"name": "right"}, targetRevision="other"),
        )
        await eventually(
            lambda: condition(shop, "databasemigration", "target") == ("False", "OtherTarget"),
            seconds_max=SECONDS_MAX * 2,
        )

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
    shop: KubernetesNamespace, change: dict[str, str], message: str
) -> None:
    spec = {"service": "ledger", "image": "tradeflow:1", "databaseSecret": {"name": "database"}, **change}

    with pytest.raises(AssertionError, match=message):
        shop.apply(a_resource("DatabaseMigration", "ledger", **spec))


async def test_the_service_of_a_migration_cannot_be_changed(shop: KubernetesNamespace) -> None:
    spec = {"service": "ledger", "image": "tradeflow:1", "databaseSecret": {"name": "database"}}
    shop.apply(a_resource("DatabaseMigration", "ledger", **spec))

    with pytest.raises(AssertionError, match="another service has other tables"):
        shop.apply(a_resource("DatabaseMigration", "ledger", **(spec | {"service": "orders"})))
