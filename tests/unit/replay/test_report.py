"""The closing table, the JSON and the rejects file say the same."""

import csv
import io
from pathlib import Path

from rich.console import Console

from services.embedded.public_api import Order, OrderLine
from services.embedded.replay.apply import Applied
from services.embedded.replay.outcome import make_outcome
from services.embedded.replay.plan import FileForm, Plan, make_plan
from services.embedded.replay.report import Report, as_data, show_table, write_rejects
from services.money import Money
from services.runtime.clock import EPOCH
from services.runtime.ids import new_id
from tests.support.csv_orders import HEADER

ROWS = (
    '1,71053,"LANTERN, £40",5,2011-01-01 10:00:00,2.55,17850,Norway',
    "C2,71053,LANTERN,-9,2011-01-02 10:00:00,2.55,17850,Norway",
    "C3,POST,LANTERN,-1,2011-01-03 10:00:00,2.55,17850,Norway",
    '4,71053,"OPEN,5,2011-01-01 10:00:00,2.55,17850,Norway',
    "5,71053",
)


def as_the_platform_has_them(plan: Plan) -> Applied:
    """Carry a plan out on paper."""
    orders = {}
    for planned in plan.orders:
        back = {refund.order: refund.quantities for refund in plan.refunds}.get(planned.key, {})
        lines = [
            OrderLine(
                line_number=line.line_number,
                sku=line.sku,
                title=line.title,
                quantity=line.quantity,
                unit_price=line.price,
                total=line.price * line.quantity,
                seller_id=new_id(),
                refunded_quantity=back.get(line.line_number, 0),
            )
            for line in planned.lines
        ]
        back_minor = sum(line.unit_price.amount_minor * line.refunded_quantity for line in lines)
        orders[planned.key] = Order(
            order_id=new_id(),
            state="SETTLED",
            buyer_id=new_id(),
            capture="automatic",
            total=planned.total,
            captured=planned.total,
            refunded=Money(back_minor, plan.currency),
            lines=lines,
            rejection=None,
            created_at=EPOCH,
            updated_at=EPOCH,
        )
    return Applied(orders=dict(orders), refunds_refused={}, orders_remembered=0, seconds_by_phase={"orders": 1.5})


def a_report() -> Report:
    content, form = "\r\n".join((",".join(HEADER), *ROWS)).encode("cp1252"), FileForm()
    plan = make_plan(content, form)
    applied = as_the_platform_has_them(plan)
    return Report(
        file=Path("history.csv"),
        content=content,
        form=form,
        plan=plan,
        outcome=make_outcome(plan, applied),
        applied=applied,
        elapsed_seconds=2.0,
    )


def test_the_rejects_file_has_each_row_with_its_line_its_reason_and_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "rejects.csv"

    write_rejects(path, a_report())

    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["row", "reason", "message", *HEADER]
    assert [(row[0], row[1]) for row in rows] == [
        ("4", "return_without_purchase"),
        ("5", "broken_row"),
        ("6", "broken_row"),
    ]
    assert rows[0][3:] == ROWS[2].split(",")
    assert rows[1][3:] == [ROWS[3]]
    assert rows[2][3:] == ["5", "71053"]
    assert [file.name for file in path.parent.iterdir()] == ["rejects.csv"]


def test_the_rejects_file_is_written_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    path.write_text("something else")

    write_rejects(path, a_report())
    first = path.read_bytes()
    write_rejects(path, a_report())

    assert path.read_bytes() == first
    assert b"something else" not in first


def test_the_data_counts_every_row_once() -> None:
    told = as_data(a_report(), Path("rejects.csv"))

    assert (told["rows_read"], told["rows_settled"], told["rows_refunded"], told["rows_rejected"]) == (5, 1, 1, 3)
    assert told["rejected_by_reason"] == {"broken_row": 2, "return_without_purchase": 1}
    assert told["money"] == {"GBP": {"in_minor": 1275, "out_minor": 1275}}
    assert told["part_refunds"] == [{"row": 3, "quantity_asked": 9, "quantity_refunded": 5, "quantity_unmatched": 4}]
    assert told["orders_per_second"] == 0.5


def test_the_table_says_what_the_data_say() -> None:
    out = io.StringIO()

    show_table(a_report(), Path("rejects.csv"), Console(file=out, width=120))

    for words in ("rows read", "12.75 GBP", "broken_row", "5 of 9 pieces", "rejects.csv", "0.50"):
        assert words in out.getvalue()
