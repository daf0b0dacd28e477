"""Dashboards, alerts, runbooks and the list of metrics fit each other, and the processes."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.house.dashboard_parts import Dashboard
from tests.house.dashboards import CHARTS, DASHBOARDS, file_of, text_of
from tests.house.metric_list import DOCUMENT, document_of, listed_metrics, registered_metrics
from tests.house.operator_dashboard import OPERATOR

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
RULE_FILES = [
    file
    for chart in ("tradeflow", "tradeflow-operator")
    for file in sorted((ROOT / "charts" / chart / "alerts").glob("*.yaml"))
]
"""The alerts of each chart that is a release of its own."""

PROMETHEUS_OWN = {"up", "ALERTS"}
"""What Prometheus itself knows."""

OWN_PREFIXES = ("tradeflow_", "process_", "python_")
"""How our processes' metrics begin."""

SECTIONS = ("## What it means", "## What to look at", "## What to do")


def rules() -> list[dict[str, Any]]:
    return [
        rule for file in RULE_FILES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]
    ]


def _test_of(rule_file: Path) -> Path:
    return rule_file.parent / "tests" / rule_file.name


def dashboard_files() -> list[Path]:
    return sorted(CHARTS.glob("*/dashboards/*.json"))


def dashboard_queries() -> list[str]:
    panels = [panel for file in dashboard_files() for panel in json.loads(file.read_text())["panels"]]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def queries_of(dashboard: Dashboard) -> list[str]:
    return [query.expr for row in dashboard.rows for panel in row.panels for query in panel.queries]


def metric_names(expr: str) -> set[str]:
    """Find the metrics of a query: words that look like ours, outside of quotes."""
    words = set(re.findall(r"\b[a-zA-Z_]\w*", re.sub(r'"[^"]*"', "", expr)))
    return {word for word in words if word.startswith(OWN_PREFIXES) or word in PROMETHEUS_OWN}


@pytest.mark.timeout(180)
async def test_the_list_of_metrics_is_what_the_processes_register() -> None:
    assert DOCUMENT.read_text() == document_of(await registered_metrics()), "run `make dashboards`"


def test_metrics_are_named_as_prometheus_asks() -> None:
    own = [metric for metric in listed_metrics() if metric.name.startswith("tradeflow_")]

    assert len(own) > 50
    for metric in own:
        assert metric.text, metric.name
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
        assert not re.search(r"_(ms|millis|micros|minutes|kb|mb)(_|$)", metric.name), metric.name
        assert not {"le", "quantile", "path", "user", "email", "order_id", "wallet_id"} & set(metric.labels), (
            metric.name
        )


def test_dashboards_are_what_the_generator_writes() -> None:
    written = {file: file.read_text() for file in dashboard_files()}

    assert written == {file_of(dashboard): text_of(dashboard) for dashboard in DASHBOARDS}, "run `make dashboards`"


def test_the_operators_dashboard_shows_all_that_the_operator_measures() -> None:
    shown = {name for query in queries_of(OPERATOR) for name in metric_names(query)}
    measured = [metric for metric in listed_metrics() if metric.name.startswith("tradeflow_operator_")]

    assert [metric.name for metric in measured if shown.isdisjoint(metric.series)] == [
        "tradeflow_operator_build_info",
    ]


def test_every_metric_of_a_dashboard_or_an_alert_is_listed() -> None:
    known = PROMETHEUS_OWN | {series for metric in listed_metrics() for series in metric.series}
    queries = [*dashboard_queries(), *[rule["expr"] for rule in rules()]]

    assert len(queries) > 80
    assert {name for query in queries for name in metric_names(query)} - known == set()
    assert [query for query in queries if not metric_names(query)] == []


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, rule["alert"]
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    names = [rule["alert"] for rule in rules()]

    assert len(names) == len(set(names))
    assert {file.stem for file in RUNBOOKS.glob("*.md")} == set(names)


@pytest.mark.parametrize("runbook", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_a_runbook_says_what_it_means_what_to_look_at_and_what_to_do(runbook: Path) -> None:
    lines = runbook.read_text().splitlines()

    assert lines[0] == f"# {runbook.stem}"
    assert tuple(line for line in lines if line.startswith("## ")) == SECTIONS
    named = {name for word in re.findall(r"`([^`]*)`", runbook.read_text()) for name in metric_names(word)}
    known = PROMETHEUS_OWN | {name for metric in listed_metrics() for name in (metric.name, *metric.series)}
    assert named - known == set()


def test_every_alert_is_tested_to_fire_and_to_be_quiet() -> None:
    test_files = {file for folder in {file.parent for file in RULE_FILES} for file in folder.glob("tests/*.yaml")}
    cases: dict[bool, set[str]] = {True: set(), False: set()}
    for file in test_files:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for case in test["alert_rule_test"]:
                cases[bool(case["exp_alerts"])].add(case["alertname"])

    names = {rule["alert"] for rule in rules()}
    assert test_files == {_test_of(file) for file in RULE_FILES}
    assert cases[True] == names
    assert cases[False] == names


@pytest.mark.part("prometheus")
def test_prometheus_can_read_every_query_of_a_dashboard(promtool: Path, tmp_path: Path) -> None:
    queries = [query.replace("$__rate_interval", "5m") for query in dashboard_queries()]
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))

    checked = subprocess.run(
        [promtool, "check", "rules", "--lint=none", tmp_path / "queries.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.part("prometheus")
@pytest.mark.parametrize("file", RULE_FILES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(promtool: Path, file: Path) -> None:
    checked = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    tested = subprocess.run([promtool, "test", "rules", _test_of(file)], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert tested.returncode == 0, tested.stdout + tested.stderr
