"""Golden cases of plans: a resource and what is observed in, the plan out, as YAML that a person reads.

A file holds one case: `resource` and `observed` are given, `plan` is what has to come out: the steps with their
sentences, and the verdict. `python -m tests.support.golden_plans` writes `plan` anew, for a person to review it.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tradeflow_operator.reconcile.connection import ConnectionSight, KafkaConnectionSpec, plan_connection
from tradeflow_operator.reconcile.database_migration import MigrationSeen, plan_migration
from tradeflow_operator.reconcile.event_access import EventAccessSight, EventAccessSpec, plan_access
from tradeflow_operator.reconcile.event_schema import EventSchemaSight, EventSchemaSpec, plan_schema
from tradeflow_operator.reconcile.event_topic import EventTopicSight, EventTopicSpec, plan_topic
from tradeflow_operator.reconcile.jwt_key_set import JWTKeySetSpec, KeySetSeen, plan_key_set
from tradeflow_operator.reconcile.migration_job import DatabaseMigrationSpec
from tradeflow_operator.reconcile.plan import Plan
from tradeflow_operator.reconcile.platform_release import TradeFlowSpec
from tradeflow_operator.reconcile.rate_limit_policy import LimitsSeen, RateLimitPolicySpec, plan_limits
from tradeflow_operator.reconcile.tradeflow import PlatformSeen, plan_platform
from tradeflow_operator.resources import Resource, parse_resource

FOLDER = Path(__file__).parents[1] / "unit" / "operator" / "golden"

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
"""When all cases happen."""

PLANS: Mapping[str, tuple[str, type[Any], type[Any], Callable[[Resource[Any], Any, datetime], Plan]]] = {
    "kafka_connection": ("KafkaConnection", KafkaConnectionSpec, ConnectionSight, plan_connection),
    "event_topic": ("EventTopic", EventTopicSpec, EventTopicSight, plan_topic),
    "event_access": ("EventAccess", EventAccessSpec, EventAccessSight, plan_access),
    "event_schema": ("EventSchema", EventSchemaSpec, EventSchemaSight, plan_schema),
    "database_migration": ("DatabaseMigration", DatabaseMigrationSpec, MigrationSeen, plan_migration),
    "rate_limit_policy": ("RateLimitPolicy", RateLimitPolicySpec, LimitsSeen, plan_limits),
    "jwt_key_set": ("JWTKeySet", JWTKeySetSpec, KeySetSeen, plan_key_set),
    "tradeflow": ("TradeFlow", TradeFlowSpec, PlatformSeen, plan_platform),
}
"""By the folder of the cases."""


def cases() -> list[Path]:
    """List the cases of the kinds above."""
    return sorted(path for name in PLANS for path in (FOLDER / name).glob("*.yaml"))


def planned(path: Path) -> dict[str, Any]:
    """Plan a case, and write the plan as the file has it."""
    case = yaml.safe_load(path.read_text())
    kind, spec_type, sight_type, plan = PLANS[path.parent.name]
    resource = parse_resource(kind, case["resource"], spec_type)
    made = plan(resource, msgspec.convert(case["observed"], sight_type), NOW)
    defaults = msgspec.to_builtins(Plan(verdict=made.verdict))
    written = {name: value for name, value in msgspec.to_builtins(made).items() if value != defaults.get(name)}
    steps = [{"step": step.sentence()} | msgspec.to_builtins(step) for step in made.steps]
    verdict = {
        name: value for name, value in msgspec.to_builtins(made.verdict).items() if value not in ("", {}, [], (), None)
    }
    plan_of_case = {
        **({"steps": steps} if steps else {}),
        **{name: value for name, value in written.items() if name != "steps"},
        "verdict": verdict,
    }
    # Through JSON, so that it compares with what YAML reads.
    again: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(plan_of_case))
    return again


def _write(path: Path) -> None:
    given = path.read_text().partition("\nplan:\n")[0].rstrip()
    plan = yaml.safe_dump({"plan": planned(path)}, sort_keys=False, width=110, allow_unicode=True)
    path.write_text(f"{given}\n{plan}")


if __name__ == "__main__":
    for case_path in cases():
        _write(case_path)
