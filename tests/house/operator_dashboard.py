"""The operator's dashboard, which comes with the operator's chart, a release of its own."""

from tests.house.dashboard_parts import Dashboard, Panel, Query, Row, a_number, a_query, quantiles
from tests.house.dashboard_rows import RED_FROM_ONE, memory_panel, processors_panel

_JOB = '{job=~".*tradeflow-operator"}'

_EXACTLY_ONE = (("red", None), ("green", 1.0), ("red", 2.0))
"""Neither none nor two."""

_AT_A_GLANCE = Row(
    title="At a glance",
    panels=(
        a_number("Replicas that answer", f"sum(up{_JOB}) or vector(0)", steps=(("red", None), ("green", 1.0))),
        a_number("Replicas that lead", "sum(tradeflow_operator_leading) or vector(0)", steps=_EXACTLY_ONE),
        a_number("Resources", "sum(max by (kind) (tradeflow_operator_resources))"),
        a_number(
            "Resources in conflict",
            "sum(max by (kind) (tradeflow_operator_conflicts)) or vector(0)",
            steps=RED_FROM_ONE,
            help="Another resource has what they name: each says `ResourceConflict`, and which.",
        ),
    ),
)

_VISITS = Row(
    title="Visits to resources: rate, errors, duration",
    panels=(
        Panel(
            title="Visits a minute by their end",
            queries=a_query(
                "sum by (outcome) (rate(tradeflow_operator_reconciles_total[$__rate_interval])) * 60", "{{outcome}}"
            ),
            help="`refused` and `conflict` wait for a person, `unavailable` and `failed` are tried again.",
        ),
        Panel(
            title="Visits that failed, a minute, by kind",
            queries=a_query(
                'sum by (kind, outcome) (rate(tradeflow_operator_reconciles_total{outcome=~"failed|unavailable"}'
                "[$__rate_interval])) * 60",
                "{{kind}} {{outcome}}",
            ),
        ),
        Panel(
            title="Time of a visit by kind",
            queries=quantiles("tradeflow_operator_reconcile_duration_seconds", "kind"),
            unit="s",
        ),
    ),
)

_QUEUE = Row(
    title="Queue",
    panels=(
        Panel(
            title="Resources that wait for a worker",
            queries=a_query("sum by (priority) (tradeflow_operator_queue_depth)", "{{priority}}"),
        ),
        Panel(
            title="Age of the visit that is longest under way",
            queries=a_query(
                "time() - (tradeflow_operator_reconcile_oldest_start_timestamp_seconds > 0)", "{{instance}}"
            ),
            unit="s",
        ),
        Panel(
            title="Writes a minute by where",
            queries=a_query(
                "sum by (target, verb) (rate(tradeflow_operator_writes_total[$__rate_interval])) * 60",
                "{{target}} {{verb}}",
            ),
        ),
    ),
)

_DRIFT = Row(
    title="Drift, keys and schemas",
    panels=(
        Panel(
            title="Corrections of what was in sync, an hour",
            queries=a_query("sum by (kind) (increase(tradeflow_operator_corrections_total[1h]))", "{{kind}}"),
            help="Drift that was mended; of key sets also keys whose time had come.",
        ),
        Panel(
            title="How long the oldest difference has stood",
            queries=a_query("max by (kind) (tradeflow_operator_drift_seconds)", "{{kind}}"),
            unit="s",
        ),
        Panel(
            title="Resources in conflict",
            queries=a_query("max by (kind) (tradeflow_operator_conflicts)", "{{kind}}"),
        ),
        Panel(
            title="Age of signing keys",
            queries=a_query("max by (namespace, name) (tradeflow_operator_key_age_seconds)", "{{namespace}}/{{name}}"),
            unit="s",
        ),
        Panel(
            title="Schemas refused as incompatible, an hour",
            queries=a_query("sum(increase(tradeflow_operator_schema_incompatibilities_total[1h]))"),
        ),
    ),
)

_WATCHES = Row(
    title="Watches",
    panels=(
        Panel(
            title="Changes that a watch missed, in ten minutes",
            queries=a_query(
                "sum by (kind, instance) (increase(tradeflow_operator_watch_misses_total[10m]))",
                "{{kind}} {{instance}}",
            ),
            help="A watch that misses something three times in a row ends its process.",
        ),
        Panel(
            title="Since a watch last told something",
            queries=a_query(
                "max by (kind, instance) (tradeflow_operator_watch_last_event_age_seconds)", "{{kind}} {{instance}}"
            ),
            unit="s",
            help="Long where nothing changes.",
        ),
        Panel(
            title="Starts of a process, an hour",
            queries=a_query(f"sum by (instance) (changes(process_start_time_seconds{_JOB}[1h]))", "{{instance}}"),
        ),
    ),
)

_PROCESS = Row(
    title="Process",
    panels=(
        memory_panel(_JOB),
        Panel(
            title="Resources by kind",
            queries=a_query("max by (kind) (tradeflow_operator_resources)", "{{kind}}"),
            help="Memory grows with them.",
        ),
        processors_panel(_JOB),
        Panel(
            title="File descriptors",
            queries=(
                Query(expr=f"process_open_fds{_JOB}", legend="{{instance}} open"),
                Query(expr=f"process_max_fds{_JOB}", legend="{{instance}} most"),
            ),
        ),
    ),
)

OPERATOR = Dashboard(
    name="operator",
    title="operator",
    chart="tradeflow-operator",
    rows=(_AT_A_GLANCE, _VISITS, _QUEUE, _DRIFT, _WATCHES, _PROCESS),
)
