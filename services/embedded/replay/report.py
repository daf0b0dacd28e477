"""What a run leaves for people and programs: the rejects file, the closing table, the JSON."""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from services.embedded.replay.apply import Applied
from services.embedded.replay.outcome import Outcome
from services.embedded.replay.plan import FileForm, Plan
from services.embedded.replay.reading import decode, read_records

PART_REFUNDS_SHOWN_MAX = 20
"""On a terminal; the JSON has all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that is told at the end of a run."""

    file: Path
    content: bytes
    form: FileForm
    plan: Plan
    outcome: Outcome
    applied: Applied
    elapsed_seconds: float

    @property
    def orders_per_second(self) -> float:
        """Divide the settled orders by the time of the whole run."""
        return round(self.outcome.orders_settled / self.elapsed_seconds, 2)


def write_rejects(path: Path, report: Report) -> None:
    """Write the rejected rows, each with its line in the file, its reason and its columns; whole or not at all."""
    header, records = read_records(decode(report.content, report.form.encoding), report.form.delimiter)
    fields_by_row = {record.row: record.fields or (record.text,) for record in records}
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("row", "reason", "message", *header))
        for reject in report.outcome.rejects:
            writer.writerow((reject.row, reject.reason.value, reject.message, *fields_by_row[reject.row]))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def as_data(report: Report, rejects_file: Path) -> dict[str, Any]:
    """Say it for programs; amounts are in minor units."""
    outcome = report.outcome
    return {
        "file": str(report.file),
        "run_id": report.plan.run_id,
        "rows_read": report.plan.rows_read,
        "rows_settled": len(outcome.rows_settled),
        "rows_refunded": len(outcome.rows_refunded),
        "rows_rejected": len(outcome.rejects),
        "orders_settled": outcome.orders_settled,
        "returns_refunded": outcome.returns_refunded,
        "rejected_by_reason": {reason.value: rows for reason, rows in outcome.rejected_by_reason.items()},
        "money": {
            report.plan.currency: {
                "in_minor": outcome.money_in.amount_minor,
                "out_minor": outcome.money_out.amount_minor,
            }
        },
        "part_refunds": [
            {
                "row": part.row,
                "quantity_asked": part.quantity_asked,
                "quantity_refunded": part.quantity_refunded,
                "quantity_unmatched": part.quantity_unmatched,
            }
            for part in outcome.part_refunds
        ],
        "rejects_file": str(rejects_file),
        "orders_remembered": report.applied.orders_remembered,
        "elapsed_seconds": round(report.elapsed_seconds, 3),
        "seconds_by_phase": report.applied.seconds_by_phase,
        "orders_per_second": report.orders_per_second,
    }


def show_table(report: Report, rejects_file: Path, console: Console) -> None:
    """Say it for people."""
    table = Table(title=f"Replay of {report.file.name}", show_header=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right", overflow="fold")
    for name, figure in (*_figures(report), ("rejects file", str(rejects_file))):
        table.add_row(name, figure)
    console.print(table)
    parts = report.outcome.part_refunds
    for part in parts[:PART_REFUNDS_SHOWN_MAX]:
        console.print(
            f"row {part.row}: {part.quantity_refunded} of {part.quantity_asked} pieces refunded,"
            f" no purchase was found for {part.quantity_unmatched}"
        )
    if len(parts) > PART_REFUNDS_SHOWN_MAX:
        console.print(f"and {len(parts) - PART_REFUNDS_SHOWN_MAX} more: --json lists them all")


def _figures(report: Report) -> Iterator[tuple[str, str]]:
    outcome = report.outcome
    yield "rows read", str(report.plan.rows_read)
    yield "rows settled", str(len(outcome.rows_settled))
    yield "rows refunded", str(len(outcome.rows_refunded))
    yield "rows rejected", str(len(outcome.rejects))
    for reason, rows in outcome.rejected_by_reason.items():
        yield f"  {reason.value}: {reason.sentence}", str(rows)
    yield "orders settled", str(outcome.orders_settled)
    yield "returns refunded", str(outcome.returns_refunded)
    yield "  of more than was bought", str(len(outcome.part_refunds))
    yield "money in", outcome.money_in.format()
    yield "money out", outcome.money_out.format()
    yield "orders per second", f"{report.orders_per_second:.2f}"
