"""DatabaseMigration with Jobs that really run."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.operator.pod_runner import PodRunner, running_pods
from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.fake_kubernetes import conditions_of
from tests.support.operator_process import Operator
from tests.support.operator_shop import OperatorNamespace
from tests.support.waiting import eventually
from tradeflow_operator.reconcile.database_migration import APPLY_TRIES_MAX
from tradeflow_operator.resources import FORCE_ANNOTATION, PAUSED_ANNOTATION

Start = Callable[..., Operator]

MIGRATION = "DatabaseMigration"

SECONDS_MAX = 120.0
"""For what takes a second or two on an idle machine."""


def name_database(namespace: KubernetesNamespace, file: Path) -> None:
    """Write the Secret that the migrations' specs name."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database"}}
    namespace.apply({**secret, "stringData": {"url": f"sqlite:///{file}"}})


async def test_a_migration_shows_its_plan_waits_for_a_word_and_runs_what_was_approved(
    operator_namespace: OperatorNamespace, start_operator: Start, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    name_database(namespace, tmp_path / "ledger.db")
    spec = {"service": "ledger", "image": "tradeflow:1", "databaseSecret": {"name": "database"}, "approval": "Manual"}
    async with running_pods(namespace, tmp_path) as runner:
        shop.apply(MIGRATION, "ledger", **spec)

        await shop.until_says(MIGRATION, "ledger", "False", "AwaitingApproval")
        status = shop.status(MIGRATION, "ledger")
        assert status["phase"] == "AwaitingApproval"
        assert status["pending"][0]["statements"] > 0
        assert not (tmp_path / "ledger.db").exists()

        namespace.kubectl("annotate", "databasemigration", "ledger", "tradeflow.dev/approved=something-else")
        namespace.kubectl(
            "annotate", "--overwrite", "databasemigration", "ledger", f"tradeflow.dev/approved={status['planDigest']}"
        )
        await shop.until_says(MIGRATION, "ledger", "True", "Applied")

    after = shop.status(MIGRATION, "ledger")
    assert after["current"] == after["target"] == status["target"]
    assert [words[2] for words in runner.ran] == ["plan", "apply"]
    assert [each["name"] for each in status["pending"]] == runner.ran[1][runner.ran[1].index("--phase") + 3 :: 2]
    namespace.kubectl("delete", "databasemigration", "ledger", "--timeout=30s")
    await eventually(lambda: namespace.all_of("jobs") == [], seconds_max=SECONDS_MAX)
    assert (tmp_path / "ledger.db").exists()


async def test_what_was_applied_stays_so_when_its_pods_go_with_their_node(
    operator_namespace: OperatorNamespace, start_operator: Start, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    name_database(namespace, tmp_path / "ledger.db")
    spec = {"service": "ledger", "image": "tradeflow:1", "databaseSecret": {"name": "database"}}
    async with running_pods(namespace, tmp_path) as runner:
        shop.apply(MIGRATION, "ledger", **spec)
        await shop.until_says(MIGRATION, "ledger", "True", "Applied")
        namespace.kubectl("delete", "pods", "--all", "--timeout=30s")

        shop.apply(MIGRATION, "ledger", **spec, approval="Manual")
        await eventually(lambda: shop.status(MIGRATION, "ledger")["observedGeneration"] == 2, seconds_max=SECONDS_MAX)

    status = shop.status(MIGRATION, "ledger")
    assert (status["phase"], status["current"]) == ("Applied", status["target"])
    assert [words[2] for words in runner.ran] == ["plan", "apply"]


async def test_what_people_do_to_jobs_and_status_is_made_good_and_changes_no_table_twice(
    operator_namespace: OperatorNamespace, start_operator: Start, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    name_database(namespace, tmp_path / "ledger.db")
    shop.apply(MIGRATION, "ledger", service="ledger", image="tradeflow:1", databaseSecret={"name": "database"})
    async with running_pods(namespace, tmp_path) as runner:
        await shop.until_says(MIGRATION, "ledger", "True", "Applied")
        before = shop.status(MIGRATION, "ledger")
        schema = schema_of(tmp_path / "ledger.db")

        wipe_status(namespace, "ledger")
        await shop.until_says(MIGRATION, "ledger", "True", "Applied")
        assert [words[2] for words in runner.ran] == ["plan", "apply"]
        assert without_times(shop.status(MIGRATION, "ledger")) == without_times(before)

        # Of the two Jobs first the one that applied, then the one that planned.
        namespace.kubectl("delete", "job", before["applyJob"])
        await eventually(lambda: len(runner.ran) == 3, seconds_max=SECONDS_MAX)
        await shop.until_says(MIGRATION, "ledger", "True", "Applied")
        namespace.kubectl("delete", "job", before["planJob"])
        await eventually(lambda: len(runner.ran) == 4, seconds_max=SECONDS_MAX)
        await shop.until_says(MIGRATION, "ledger", "True", "Applied")

    assert [words[2] for words in runner.ran] == ["plan", "apply", "apply", "plan"]
    assert shop.status(MIGRATION, "ledger")["current"] == before["target"]
    assert schema_of(tmp_path / "ledger.db") == schema
    assert failures_told(namespace) == []


async def test_a_job_whose_time_is_over_says_so(operator_namespace: OperatorNamespace, start_operator: Start) -> None:
    shop = operator_namespace
    start_operator()

    # Nobody runs its Pod, so that the Job's controller stops it.
    spec = {"service": "ledger", "image": "tradeflow:1", "databaseSecret": {"name": "database"}}
    shop.apply(MIGRATION, "ledger", **spec, timeout="3s")

    await shop.until_says(MIGRATION, "ledger", "False", "MigrationFailed")
    assert "spec.timeout" in str(shop.status(MIGRATION, "ledger")["conditions"])


async def test_a_forced_migration_is_asked_anew_and_a_paused_one_is_not(
    operator_namespace: OperatorNamespace, start_operator: Start, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    name_database(namespace, tmp_path / "ledger.db")
    spec = {"service": "ledger", "image": "tradeflow:1", "databaseSecret": {"name": "database"}}
    async with running_pods(namespace, tmp_path) as runner:
        shop.apply(MIGRATION, "ledger", **spec)
        await shop.until_says(MIGRATION, "ledger", "True", "Applied")
        first = shop.status(MIGRATION, "ledger")["planJob"]

        shop.apply(MIGRATION, "ledger", {PAUSED_ANNOTATION: "true", FORCE_ANNOTATION: "1"}, **spec)
        await eventually(lambda: shop.says(MIGRATION, "ledger", "True", of_type="Paused"), seconds_max=SECONDS_MAX)
        assert [words[2] for words in runner.ran] == ["plan", "apply"]
        shop.apply(MIGRATION, "ledger", {FORCE_ANNOTATION: "1"}, **spec)
        await eventually(lambda: len(runner.ran) == 3, seconds_max=SECONDS_MAX)
        await shop.until_says(MIGRATION, "ledger", "True", "Applied")

    assert runner.ran[-1][2] == "plan"
    again = shop.status(MIGRATION, "ledger")
    assert again["planJob"] != first
    assert again["lastHandledForce"] == "1"
    assert [job["metadata"]["name"] for job in namespace.all_of("jobs")] == [again["planJob"]]


async def test_tables_that_others_brought_up_to_date_are_taken_as_they_are(
    operator_namespace: OperatorNamespace, start_operator: Start, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    name_database(namespace, tmp_path / "ledger.db")
    spec = {"service": "ledger", "image": "tradeflow:1", "databaseSecret": {"name": "database"}}
    for name in ("first", "second"):
        shop.apply(MIGRATION, name, **spec)
    start_operator()
    async with running_pods(namespace, tmp_path) as runner:
        for name in ("first", "second"):
            await shop.until_says(MIGRATION, name, "True", "Applied")
        shop.apply(MIGRATION, "third", **spec)
        await shop.until_says(MIGRATION, "third", "True", "Applied")

    assert runner.ran[-1][2] == "plan"
    assert shop.status(MIGRATION, "third")["pending"] == []
    assert failures_told(namespace) == []


async def test_an_image_that_leads_to_another_target_runs_nothing(
    operator_namespace: OperatorNamespace, start_operator: Start, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    name_database(namespace, tmp_path / "orders.db")
    spec = {"service": "orders", "image": "tradeflow:1"}
    async with running_pods(namespace, tmp_path):
        shop.apply(MIGRATION, "target", **spec, databaseSecret={"name": "database"}, targetRevision="other")
        await shop.until_says(MIGRATION, "target", "False", "OtherTarget")

    assert not (tmp_path / "orders.db").exists()


async def test_a_pod_that_cannot_start_is_told_at_once_and_goes_on_when_that_is_mended(
    operator_namespace: OperatorNamespace, start_operator: Start, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    name_database(namespace, tmp_path / "orders.db")
    shop.apply(MIGRATION, "orders", service="orders", image="tradeflow:none", databaseSecret={"name": "database"})
    await eventually(lambda: namespace.all_of("pods") != [], seconds_max=SECONDS_MAX)

    runner = PodRunner(namespace, tmp_path)
    runner.hinder("ImagePullBackOff", 'Back-off pulling image "tradeflow:none"')
    await shop.until_says(MIGRATION, "orders", "False", "PodCannotStart")
    runner.relent()
    async with running_pods(namespace, tmp_path):
        await shop.until_says(MIGRATION, "orders", "True", "Applied")

    assert (tmp_path / "orders.db").exists()


async def test_a_pod_without_a_node_is_told_and_makes_way_for_one_that_goes_elsewhere(
    operator_namespace: OperatorNamespace, start_operator: Start, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    name_database(namespace, tmp_path / "orders.db")
    spec = {"service": "orders", "image": "tradeflow:1", "databaseSecret": {"name": "database"}}
    shop.apply(MIGRATION, "orders", **spec)
    await eventually(lambda: namespace.all_of("pods") != [], seconds_max=SECONDS_MAX)

    runner = PodRunner(namespace, tmp_path)
    runner.find_no_node("0/1 nodes are available: 1 node(s) had untolerated taint {money: }.")
    await shop.until_says(MIGRATION, "orders", "False", "PodCannotStart")
    told = conditions_of(namespace.get(MIGRATION, "orders"))
    shop.apply(MIGRATION, "orders", **spec, pod={"tolerations": [{"key": "money", "operator": "Exists"}]})
    await eventually(lambda: shop.status(MIGRATION, "orders")["observedGeneration"] == 2, seconds_max=SECONDS_MAX)
    await eventually(lambda: _keys_borne(namespace) == [["money"]], seconds_max=SECONDS_MAX)
    async with running_pods(namespace, tmp_path):
        await shop.until_says(MIGRATION, "orders", "True", "Applied")

    assert "untolerated taint {money: }. Add a node or make room" in told["Ready"]["message"]
    assert told["Stalled"]["status"] == "False"


def _keys_borne(namespace: KubernetesNamespace) -> list[list[str]]:
    """List by Pod the taints that it bears, but for those of a node that goes, which all bear."""
    borne = [[str(each.get("key")) for each in pod["spec"].get("tolerations", ())] for pod in namespace.all_of("pods")]
    return [[key for key in keys if not key.startswith("node.kubernetes.io/")] for keys in borne]


async def test_a_pod_goes_where_the_spec_says_and_another_spec_begins_anew(
    operator_namespace: OperatorNamespace, start_operator: Start, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    name_database(namespace, tmp_path / "orders.db")
    spec = {"service": "orders", "image": "tradeflow:1", "databaseSecret": {"name": "database"}}
    pod: dict[str, Any] = {
        "labels": {"team": "money"},
        "annotations": {"sidecar.istio.io/inject": "false"},
        "nodeSelector": {"pool": "money"},
        "tolerations": [{"key": "money", "operator": "Exists", "effect": "NoSchedule"}],
        "fsGroup": 10001,
        "volumes": [{"name": "database-ca", "secret": {"secretName": "database-ca", "defaultMode": 288}}],
        "volumeMounts": [{"name": "database-ca", "mountPath": "/etc/db-ca", "readOnly": True}],
        "resources": {"requests": {"cpu": 1}, "limits": {"memory": "1Gi"}},
    }
    async with running_pods(namespace, tmp_path) as runner:
        shop.apply(MIGRATION, "orders", **spec)
        await shop.until_says(MIGRATION, "orders", "True", "Applied")
        shop.apply(MIGRATION, "orders", **spec, pod=pod)
        await eventually(lambda: len(runner.ran) == 3, seconds_max=SECONDS_MAX)
        await shop.until_says(MIGRATION, "orders", "True", "Applied")

    template = namespace.get("job", shop.status(MIGRATION, "orders")["planJob"])["spec"]["template"]
    made, container = template["spec"], template["spec"]["containers"][0]
    assert [words[2] for words in runner.ran] == ["plan", "apply", "plan"]
    assert template["metadata"]["labels"].items() >= pod["labels"].items()
    assert template["metadata"]["annotations"] == pod["annotations"]
    assert {name: made[name] for name in ("nodeSelector", "tolerations")} == {
        name: pod[name] for name in ("nodeSelector", "tolerations")
    }
    assert made["volumes"][1:] == pod["volumes"]
    assert container["volumeMounts"][1:] == pod["volumeMounts"]
    assert container["resources"] == {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}
    assert made["securityContext"].items() >= {"runAsNonRoot": True, "fsGroup": 10001}.items()
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


async def test_a_migration_that_fails_says_why_is_not_tried_for_ever_and_goes_on_with_another_version(
    operator_namespace: OperatorNamespace, start_operator: Start, tmp_path: Path
) -> None:
    shop, namespace, database = operator_namespace, operator_namespace.namespace, tmp_path / "orders.db"
    operator = start_operator()
    name_database(namespace, database)
    run_sql(database, "CREATE TABLE outbox_relays (made_by TEXT)")
    spec = {"service": "orders", "databaseSecret": {"name": "database"}}
    async with running_pods(namespace, tmp_path) as runner:
        shop.apply(MIGRATION, "orders", **spec, image="tradeflow:1")
        await shop.until_says(MIGRATION, "orders", "False", "MigrationFailed")
        await until_looked_again(operator)
        failed, tries, written = namespace.get(MIGRATION, "orders"), list(runner.ran), writes(namespace)
        await until_looked_again(operator, times=3)

        assert "table outbox_relays already exists" in conditions_of(failed)["Ready"]["message"]
        assert conditions_of(failed)["Stalled"]["status"] == "True"
        assert failed["status"]["phase"] == "Failed"
        assert [words[2] for words in tries] == ["plan"] + ["apply"] * (1 + APPLY_TRIES_MAX)
        assert runner.ran == tries
        assert writes(namespace) == written
        assert len(failures_told(namespace)) == 1

        run_sql(database, "DROP TABLE outbox_relays")
        shop.apply(MIGRATION, "orders", **spec, image="tradeflow:2")
        await shop.until_says(MIGRATION, "orders", "True", "Applied")

    assert [words[2] for words in runner.ran[len(tries) :]] == ["plan", "apply"]
    assert len(failures_told(namespace)) == 1


def wipe_status(namespace: KubernetesNamespace, name: str) -> None:
    """Replace a status by an empty one, as a restored backup does."""
    body = namespace.get(MIGRATION, name)
    namespace.kubectl(
        "replace", "--subresource=status", "--filename", "-", stdin=json.dumps({**body, "status": {"conditions": []}})
    )


def without_times(status: dict[str, Any]) -> dict[str, Any]:
    """Leave out since when conditions are as they are."""
    conditions = [
        {name: value for name, value in condition.items() if name != "lastTransitionTime"}
        for condition in status["conditions"]
    ]
    return {**status, "conditions": conditions}


def schema_of(database: Path) -> list[tuple[str, ...]]:
    """Read all that makes a database's tables, and what is noted of the migrations that ran."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def run_sql(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(statement)
        connection.commit()


async def until_looked_again(operator: Operator, *, times: int = 1) -> None:
    """Wait until the operator has looked so often, to the end, at a migration that waits for a person."""

    def looks() -> float:
        return operator.metric("tradeflow_operator_reconciles_total", kind=MIGRATION, outcome="refused")

    before = looks()
    await eventually(lambda: looks() >= before + times, seconds_max=SECONDS_MAX)


def writes(namespace: KubernetesNamespace) -> list[tuple[str, str]]:
    """List what the operator wrote, but for the lease that says that it lives."""
    return [
        (event["verb"], event["objectRef"]["resource"])
        for event in namespace.writes()
        if str(event.get("userAgent", "")).startswith("tradeflow-operator")
        and event["objectRef"]["resource"] != "leases"
    ]


def failures_told(namespace: KubernetesNamespace) -> list[str]:
    """List what Events say of a migration that failed."""
    return [event["message"] for event in namespace.all_of("events") if event["reason"] == "MigrationFailed"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"service": "gateway"}, "Unsupported value"),
        ({"image": ""}, "at least 1 chars"),
        ({"phase": "all"}, "Unsupported"),
        ({"pod": {"volumes": [{"name": "node", "hostPath": {"path": "/etc"}}]}}, "unknown field"),
        ({"pod": {"volumes": [{"name": "none"}]}}, "exactly one of"),
        ({"pod": {"volumes": [{"name": "two", "emptyDir": {}, "secret": {"secretName": "ca"}}]}}, "exactly one of"),
        ({"pod": {"volumes": [{"name": "tmp", "emptyDir": {}}]}}, "Pod's own volume"),
        (
            {"pod": {"volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}},
            "unknown field",
        ),
        ({"pod": {"volumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}]}}, "names one of pod.volumes"),
        ({"pod": {"tolerations": [{"effect": "Never"}]}}, "Unsupported"),
        ({"pod": {"hostNetwork": True}}, "unknown field"),
    ],
)
def test_bad_migrations_are_refused_by_the_api_server(
    operator_namespace: OperatorNamespace, change: dict[str, Any], message: str
) -> None:
    spec = {"service": "ledger", "image": "tradeflow:1", "databaseSecret": {"name": "database"}, **change}

    with pytest.raises(AssertionError, match=message):
        operator_namespace.apply(MIGRATION, "ledger", **spec)


def test_the_service_of_a_migration_cannot_be_changed(operator_namespace: OperatorNamespace) -> None:
    spec = {"service": "ledger", "image": "tradeflow:1", "databaseSecret": {"name": "database"}}
    operator_namespace.apply(MIGRATION, "ledger", **spec)

    with pytest.raises(AssertionError, match="another service has other tables"):
        operator_namespace.apply(MIGRATION, "ledger", **(spec | {"service": "orders"}))
