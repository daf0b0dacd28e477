"""How `tradeflow migrate` tells where a database stands, and what is to be done."""

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from services.embedded.commands.service_database import ServiceDatabase
from services.runtime.clock import from_micros
from services.runtime.database.schema_state import SchemaState

REPORT_BYTES_MAX = 4096
"""What Kubernetes keeps of a container's last words."""

STATEMENT_CHARACTERS_MAX = 160
"""Of each statement in a short report: enough to tell what it touches; `migrate plan` prints it all."""


def status_as_data(target: ServiceDatabase, state: SchemaState) -> dict[str, Any]:
    """Tell programs where a database stands."""
    return {
        "service": target.service,
        "database": target.shown_url,
        "up_to_date": not (state.pending or state.changed or state.too_new),
        "migrating": state.migrating or None,
        "migrations": list(_migrations(state)),
    }


def _migrations(state: SchemaState) -> Iterator[dict[str, Any]]:
    for each in state.applied:
        yield {
            "name": each.name,
            "phase": each.phase,
            "state": _state_of_applied(each.name, state),
            "applied_at": from_micros(each.applied_at).isoformat(timespec="seconds"),
        }
    for migration in state.pending:
        yield {
            "name": migration.name,
            "phase": migration.phase,
            "state": "pending",
            "statements": len(migration.statements),
            "statements_done": len(state.steps_done.get(migration.name, ())),
        }


def _state_of_applied(name: str, state: SchemaState) -> str:
    for names, word in ((state.too_new, "too_new"), (state.newer, "newer"), (state.changed, "changed")):
        if name in names:
            return word
    return "applied"


_WORDS = {
    "applied": "applied",
    "newer": "applied by newer code; this code works on it",
    "too_new": "applied by newer code; this code can't work on it",
    "changed": "applied, and something else in this code",
}
"""The states of what was applied, for people."""


def print_status(console: Console, target: ServiceDatabase, state: SchemaState) -> None:
    """Tell people where a database stands, one line a migration."""
    console.print(f"{target.service} on {target.shown_url}", markup=False, soft_wrap=True)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for each in _migrations(state):
        table.add_row(each["name"], each["phase"], _said(each))
    console.print(table)
    if state.migrating:
        console.print(f"migrating now: {state.migrating}", markup=False, soft_wrap=True)
    if state.pending:
        counts = ", ".join(f"{len(state.pending_in([phase]))} {phase}" for phase in ("pre", "post"))
        console.print(f"pending: {counts}; see `tradeflow migrate plan --service {target.service}`", soft_wrap=True)
    elif not (state.changed or state.too_new):
        console.print("up to date")


def _said(migration: Mapping[str, Any]) -> str:
    if migration["state"] != "pending":
        return f"{_WORDS[migration['state']]} ({migration['applied_at']})"
    if done := migration["statements_done"]:
        return f"pending; {done} of {migration['statements']} statements are done"
    return "pending"


def plan_as_data(target: ServiceDatabase, state: SchemaState, texts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Tell programs what `apply` would run."""
    return {
        "service": target.service,
        "database": target.shown_url,
        "migrations": [
            {
                "name": migration.name,
                "phase": migration.phase,
                "statements": [
                    {"sql": sql, "done": number in state.steps_done.get(migration.name, ())}
                    for number, sql in enumerate(texts[migration.name])
                ],
            }
            for migration in state.pending
            if migration.name in texts
        ],
    }


def short_report(state: SchemaState, texts: Mapping[str, Sequence[str]]) -> bytes:
    """Tell what `apply` would run in what a container's last words may hold; the SQL is left out where it won't fit."""
    applied = [each.name for each in state.applied]
    pending = [migration for migration in state.pending if migration.name in texts]
    report: dict[str, Any] = {
        "current": applied[-1] if applied else None,
        "target": pending[-1].name if pending else (applied[-1] if applied else None),
        "digest": hashlib.sha256(msgspec.json.encode([[each.name, *texts[each.name]] for each in pending])).hexdigest(),
        "pending": [
            {
                "name": migration.name,
                "phase": migration.phase,
                "statements": len(texts[migration.name]),
                "sql": [" ".join(sql.split())[:STATEMENT_CHARACTERS_MAX] for sql in texts[migration.name]],
            }
            for migration in pending
        ],
    }
    for migration in reversed(report["pending"]):
        if len(msgspec.json.encode(report)) <= REPORT_BYTES_MAX:
            break
        del migration["sql"]
    return msgspec.json.encode(report)


def print_plan(target: ServiceDatabase, state: SchemaState, texts: Mapping[str, Sequence[str]]) -> None:
    """Print what `apply` would run, as SQL that could be run by hand."""
    lines = [f"-- {target.service} on {target.shown_url}"]
    for migration in state.pending:
        if migration.name not in texts:
            continue
        done = state.steps_done.get(migration.name, ())
        lines.append(f"\n-- {migration.name} ({migration.phase})")
        lines += [f"-- done already: {sql}" if n in done else f"{sql};" for n, sql in enumerate(texts[migration.name])]
    if not texts:
        lines.append("-- nothing to do")
    sys.stdout.write("\n".join(lines) + "\n")
