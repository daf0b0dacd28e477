"""Grafana's dashboards: `python -m tests.house.dashboards` writes dashboards/*.json of both charts anew.

Scrape jobs are told apart by the end of their names: `…gateway`, `…orders`, `…ledger`, `…tradeflow-operator`.
"""

import json
from pathlib import Path

from tests.house.dashboard_parts import Dashboard, Panel, Query, Row, a_number, a_query, quantiles
from tests.house.dashboard_rows import (
    GREEN_AT_ONE,
    HTTP,
    LAG,
    MONEY,
    RED_FROM_ONE,
    database_row,
    grpc_row,
    http_row,
    saturation_row,
)
from tests.house.operator_dashboard import OPERATOR

CHARTS = Path(__file__).parents[2] / "charts"
"""Where they are committed, each in its chart's folder `dashboards`."""


PLATFORM = Dashboard(
    name="platform",
    title="platform",
    rows=(
        Row(
            title="At a glance",
            panels=(
                a_number(
                    "Invariants that are broken",
                    "count(min by (invariant) (tradeflow_ledger_invariant_holds) == 0) or vector(0)",
                    steps=RED_FROM_ONE,
                ),
                a_number("Processes that answer", 'sum(up{job=~".*(gateway|orders|ledger)"})', steps=GREEN_AT_ONE),
                a_number(
                    "Orders settled in the last hour",
                    'sum(increase(tradeflow_orders_state_changes_total{state="SETTLED"}[1h]))',
                ),
                a_number("Alerts that fire", 'count(ALERTS{alertstate="firing"}) or vector(0)', steps=RED_FROM_ONE),
            ),
        ),
        Row(
            title="Rate, errors, duration of the public API",
            panels=(
                Panel(
                    title="Requests a second",
                    queries=a_query(
                        f'sum by (status) (rate({HTTP}_count{{job=~".*gateway"}}[$__rate_interval]))', "{{status}}"
                    ),
                    unit="reqps",
                ),
                Panel(
                    title="Part that fails",
                    queries=a_query(
                        f'sum(rate({HTTP}_count{{job=~".*gateway",status=~"5.."}}[$__rate_interval])) '
                        f'/ sum(rate({HTTP}_count{{job=~".*gateway"}}[$__rate_interval]))'
                    ),
                    unit="percentunit",
                ),
                Panel(title="Time of a request", queries=quantiles(HTTP, "", '{job=~".*gateway"}'), unit="s"),
            ),
        ),
        MONEY,
        LAG,
        saturation_row("(gateway|orders|ledger)"),
        Row(
            title="What runs",
            panels=(
                Panel(
                    title="Versions",
                    queries=a_query("count by (service, version) (tradeflow_build_info)", "{{service}} {{version}}"),
                ),
                Panel(
                    title="Crashes of background loops",
                    queries=a_query(
                        "sum by (job, loop) (increase(tradeflow_background_crashes_total[10m]))", "{{job}} {{loop}}"
                    ),
                ),
            ),
        ),
    ),
)

LEDGER = Dashboard(
    name="ledger",
    title="ledger",
    rows=(
        MONEY,
        Row(
            title="Commits",
            panels=(
                Panel(
                    title="Commands a second by their end",
                    queries=a_query(
                        "sum by (outcome) (rate(tradeflow_ledger_commands_total[$__rate_interval]))", "{{outcome}}"
                    ),
                    unit="ops",
                ),
                Panel(title="Commands of a batch", queries=quantiles("tradeflow_ledger_batch_commands")),
                Panel(title="Time of a batch", queries=quantiles("tradeflow_ledger_batch_duration_seconds"), unit="s"),
                Panel(
                    title="Commands that wait",
                    queries=a_query("tradeflow_ledger_commands_waiting", "{{instance}}"),
                ),
            ),
        ),
        grpc_row("ledger"),
        http_row("ledger"),
        Row(
            title="Audit and housekeeping",
            panels=(
                Panel(
                    title="Since the last walk through the book",
                    queries=a_query("max by (book) (tradeflow_ledger_audit_age_seconds)", "book {{book}}"),
                    unit="s",
                ),
                Panel(
                    title="Time of a walk through the book",
                    queries=a_query("max by (book) (tradeflow_ledger_audit_walk_duration_seconds)", "book {{book}}"),
                    unit="s",
                ),
                Panel(
                    title="How far chores are behind",
                    queries=a_query("max by (chore) (tradeflow_ledger_housekeeping_lag_seconds)", "{{chore}}"),
                    unit="s",
                ),
                Panel(
                    title="Balances by type of account, in minor units",
                    queries=a_query(
                        "max by (currency, account_type) (tradeflow_ledger_balance_minor)",
                        "{{currency}} {{account_type}}",
                    ),
                ),
            ),
        ),
        LAG,
        saturation_row("ledger"),
        database_row("ledger"),
    ),
)

ORDERS = Dashboard(
    name="orders",
    title="orders",
    rows=(
        Row(
            title="Orders",
            panels=(
                Panel(
                    title="Orders a minute by the state they came into",
                    queries=a_query(
                        "sum by (state) (rate(tradeflow_orders_state_changes_total[$__rate_interval])) * 60",
                        "{{state}}",
                    ),
                ),
                Panel(
                    title="Orders that should have been looked after",
                    queries=a_query("max(tradeflow_orders_due)"),
                ),
                Panel(
                    title="For how long they have been due",
                    queries=a_query("max(tradeflow_orders_due_lag_seconds)"),
                    unit="s",
                ),
                Panel(
                    title="Since orders were compared with the ledger",
                    queries=a_query("max by (scope) (tradeflow_orders_reconciled_age_seconds)", "{{scope}}"),
                    unit="s",
                ),
            ),
        ),
        MONEY,
        http_row("orders"),
        grpc_row("orders"),
        Row(
            title="Calls on the ledger",
            panels=(
                Panel(
                    title="Circuit: 0 closed, 1 half open, 2 open",
                    queries=a_query("max by (target) (tradeflow_circuit_state)", "{{target}}"),
                ),
                Panel(
                    title="Calls refused here, a second",
                    queries=(
                        Query(
                            expr="sum by (target) (rate(tradeflow_circuit_refused_total[$__rate_interval]))",
                            legend="{{target}} circuit",
                        ),
                        Query(
                            expr="sum by (target) (rate(tradeflow_bulkhead_refused_total[$__rate_interval]))",
                            legend="{{target}} no place",
                        ),
                    ),
                ),
                Panel(
                    title="Places taken",
                    queries=a_query("tradeflow_bulkhead_taken / tradeflow_bulkhead_places", "{{instance}} {{target}}"),
                    unit="percentunit",
                ),
            ),
        ),
        LAG,
        Row(
            title="Webhooks to merchants",
            panels=(
                Panel(
                    title="Attempts a minute",
                    queries=a_query(
                        "sum by (outcome) (rate(tradeflow_webhooks_attempts_total[$__rate_interval])) * 60",
                        "{{outcome}}",
                    ),
                ),
                Panel(title="Deliveries that wait", queries=a_query("max(tradeflow_webhooks_waiting)")),
                Panel(title="Age of the oldest", queries=a_query("max(tradeflow_webhooks_lag_seconds)"), unit="s"),
                Panel(
                    title="Given up within a week",
                    queries=a_query("max(tradeflow_webhooks_dead)"),
                    kind="stat",
                    steps=RED_FROM_ONE,
                ),
            ),
        ),
        saturation_row("orders"),
        database_row("orders"),
    ),
)

GATEWAY = Dashboard(
    name="gateway",
    title="gateway",
    rows=(
        http_row("gateway"),
        Row(
            title="Live events",
            panels=(
                Panel(
                    title="Open connections",
                    queries=a_query("sum by (transport) (tradeflow_gateway_connections)", "{{transport}}"),
                ),
                Panel(
                    title="Connections that we ended, a second",
                    queries=a_query(
                        "sum by (reason) (rate(tradeflow_gateway_connection_endings_total[$__rate_interval]))",
                        "{{reason}}",
                    ),
                ),
                Panel(
                    title="Wallet events read, a second",
                    queries=a_query(
                        "sum by (instance) (rate(tradeflow_gateway_wallet_events_total[$__rate_interval]))",
                        "{{instance}}",
                    ),
                ),
            ),
        ),
        Row(
            title="Behind the gateway",
            panels=(
                Panel(
                    title="Proxied calls without an answer, a second",
                    queries=a_query(
                        "sum by (reason) (rate(tradeflow_gateway_upstream_failures_total[$__rate_interval]))",
                        "{{reason}}",
                    ),
                ),
                Panel(
                    title="Calls refused with 429, a second",
                    queries=a_query(
                        "sum by (policy) (rate(tradeflow_gateway_rate_limited_total[$__rate_interval]))", "{{policy}}"
                    ),
                ),
                Panel(
                    title="Time of a call on Redis",
                    queries=quantiles("tradeflow_redis_call_duration_seconds", "outcome"),
                    unit="s",
                ),
                Panel(
                    title="Redis answers",
                    queries=a_query("min by (instance) (tradeflow_redis_up)", "{{instance}}"),
                    kind="stat",
                    steps=GREEN_AT_ONE,
                ),
            ),
        ),
        saturation_row("gateway"),
    ),
)

DASHBOARDS = (PLATFORM, LEDGER, ORDERS, GATEWAY, OPERATOR)
"""All of them."""


def file_of(dashboard: Dashboard) -> Path:
    """Say where a dashboard is committed."""
    return CHARTS / dashboard.chart / "dashboards" / f"{dashboard.name}.json"


def text_of(dashboard: Dashboard) -> str:
    """Write a dashboard as its file has it."""
    return json.dumps(dashboard.to_json(), indent=2) + "\n"


def main() -> None:
    """Write all files."""
    for dashboard in DASHBOARDS:
        file_of(dashboard).parent.mkdir(exist_ok=True)
        file_of(dashboard).write_text(text_of(dashboard))


if __name__ == "__main__":
    main()
