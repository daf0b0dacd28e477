"""Rows that several of Grafana's dashboards have: what is asked of every service in the same way."""

from tests.house.dashboard_parts import Panel, Query, Row, a_query, quantiles

HTTP = "tradeflow_http_request_duration_seconds"
GRPC = "tradeflow_grpc_call_duration_seconds"
SERVER_FAULTS = "INTERNAL|UNKNOWN|UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|DATA_LOSS"
"""gRPC's codes that are the server's fault, or its exhaustion."""

GREEN_AT_ONE = (("red", None), ("green", 1.0))
"""1 is well, and all below it is not."""

RED_FROM_ONE = (("green", None), ("red", 1.0))
"""0 is well, and all above it is not."""


def http_row(job: str) -> Row:
    """Rate, errors and duration of the HTTP door."""
    of_job = f'job=~".*{job}"'
    return Row(
        title="HTTP: rate, errors, duration",
        panels=(
            Panel(
                title="Requests a second by route",
                queries=a_query(
                    f"sum by (method, route) (rate({HTTP}_count{{{of_job}}}[$__rate_interval]))", "{{method}} {{route}}"
                ),
                unit="reqps",
            ),
            Panel(
                title="Requests that failed, a second",
                queries=a_query(
                    f'sum by (route, status) (rate({HTTP}_count{{{of_job},status=~"5..|aborted"}}[$__rate_interval]))',
                    "{{route}} {{status}}",
                ),
                unit="reqps",
                help="5xx, and requests whose caller or server went away before the answer.",
            ),
            Panel(title="Time of a request by route", queries=quantiles(HTTP, "route", f"{{{of_job}}}"), unit="s"),
        ),
    )


def grpc_row(job: str) -> Row:
    """Rate, errors and duration of the gRPC door."""
    of_job = f'job=~".*{job}"'
    return Row(
        title="gRPC: rate, errors, duration",
        panels=(
            Panel(
                title="Calls a second by method",
                queries=a_query(f"sum by (method) (rate({GRPC}_count{{{of_job}}}[$__rate_interval]))", "{{method}}"),
                unit="reqps",
            ),
            Panel(
                title="Calls that failed, a second",
                queries=a_query(
                    f'sum by (method, code) (rate({GRPC}_count{{{of_job},code=~"{SERVER_FAULTS}"}}[$__rate_interval]))',
                    "{{method}} {{code}}",
                ),
                unit="reqps",
            ),
            Panel(title="Time of a call by method", queries=quantiles(GRPC, "method", f"{{{of_job}}}"), unit="s"),
        ),
    )


MONEY = Row(
    title="Money",
    panels=(
        Panel(
            title="Invariants",
            queries=a_query("min by (invariant) (tradeflow_ledger_invariant_holds)", "{{invariant}}"),
            kind="stat",
            steps=GREEN_AT_ONE,
            help="1 holds, 0 is broken: the log of the leading ledger names the row.",
        ),
        Panel(
            title="Orders that disagree with the ledger",
            queries=a_query("max by (kind) (tradeflow_orders_discrepancies)", "{{kind}}"),
            kind="stat",
            steps=RED_FROM_ONE,
        ),
        Panel(
            title="Held by open holds, in minor units",
            queries=a_query("max by (currency) (tradeflow_ledger_open_holds_amount_minor)", "{{currency}}"),
        ),
        Panel(title="Open holds", queries=a_query("max by (currency) (tradeflow_ledger_open_holds)", "{{currency}}")),
    ),
)

LAG = Row(
    title="Lag",
    panels=(
        Panel(
            title="Oldest event that waits in an outbox",
            queries=a_query("max by (stream) (tradeflow_outbox_lag_seconds)", "{{stream}}"),
            unit="s",
        ),
        Panel(
            title="Events that wait in an outbox",
            queries=a_query("max by (stream) (tradeflow_outbox_lag_events)", "{{stream}}"),
        ),
        Panel(
            title="Messages that consumers haven't handled",
            queries=a_query(
                "sum by (consumer, topic) (max by (consumer, topic, partition) (tradeflow_consumer_lag_messages))",
                "{{consumer}} {{topic}}",
            ),
        ),
        Panel(
            title="Dead letters that wait",
            queries=a_query("max by (consumer) (tradeflow_consumer_dead_letters_waiting)", "{{consumer}}"),
            kind="stat",
            steps=RED_FROM_ONE,
        ),
    ),
)


def processors_panel(of_job: str) -> Panel:
    """How much of the machine a process uses."""
    return Panel(
        title="Processors used",
        queries=a_query(f"rate(process_cpu_seconds_total{of_job}[$__rate_interval])", "{{instance}}"),
    )


def memory_panel(of_job: str) -> Panel:
    """How much memory a process has."""
    return Panel(
        title="Memory", queries=a_query(f"process_resident_memory_bytes{of_job}", "{{instance}}"), unit="bytes"
    )


def saturation_row(job: str) -> Row:
    """How full a process is."""
    of_job = f'{{job=~".*{job}"}}'
    return Row(
        title="Saturation",
        panels=(
            Panel(
                title="Wait for a turn of the event loop",
                queries=quantiles("tradeflow_event_loop_delay_seconds", "instance", of_job),
                unit="s",
            ),
            processors_panel(of_job),
            memory_panel(of_job),
            Panel(
                title="Requests and calls under way",
                queries=(
                    Query(
                        expr=f"sum by (instance) (tradeflow_http_requests_in_progress{of_job})", legend="{{instance}}"
                    ),
                    *(
                        ()
                        if job == "gateway"
                        else a_query(
                            f"sum by (instance) (tradeflow_grpc_calls_in_progress{of_job})", "{{instance}} gRPC"
                        )
                    ),
                ),
            ),
        ),
    )


def database_row(job: str) -> Row:
    """How full a database's pool is."""
    of_job = f'job=~".*{job}"'
    lent = f'tradeflow_database_sessions{{{of_job},state="lent"}}'
    return Row(
        title="Database",
        panels=(
            Panel(title="Sessions in use", queries=a_query(lent, "{{instance}} {{pool}}")),
            Panel(
                title="Part of the sessions in use",
                queries=a_query(
                    f"{lent} / ignoring (state) tradeflow_database_sessions_max{{{of_job}}}", "{{instance}} {{pool}}"
                ),
                unit="percentunit",
            ),
            Panel(
                title="Tasks that wait for a session",
                queries=a_query(f"tradeflow_database_waiting{{{of_job}}}", "{{instance}} {{pool}}"),
            ),
        ),
    )
