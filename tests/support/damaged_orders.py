"""Orders that somebody changed in the database, behind the service's back."""

import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import UUID


def change_order(orders_database: Path, order_id: UUID, assignments: str) -> None:
    """Change an order's columns, and let it seem to have rested for a minute: comparisons leave out what just moved."""
    with closing(sqlite3.connect(orders_database, timeout=20)) as connection, connection:
        changed = connection.execute(
            f"UPDATE orders SET {assignments}, updated_at = updated_at - 60000000 WHERE order_id = ?",  # noqa: S608 - a test's own
            (str(order_id),),
        )
        assert changed.rowcount == 1


def forget_refunds(orders_database: Path, order_id: UUID) -> None:
    """Let an order know of no refund, as after a restore from a copy of before."""
    change_order(orders_database, order_id, "state = 'SETTLED', refunded_minor = 0")
    with closing(sqlite3.connect(orders_database, timeout=20)) as connection, connection:
        connection.execute(
            "UPDATE order_lines SET refunded_quantity = 0, refunded_minor = 0 WHERE order_id = ?", (str(order_id),)
        )


def lose_order(orders_database: Path, order_id: UUID) -> None:
    """Let there be no such order, as after a restore from a copy of before."""
    with closing(sqlite3.connect(orders_database, timeout=20)) as connection, connection:
        for table in ("orders", "order_lines", "order_history"):
            connection.execute(f"DELETE FROM {table} WHERE order_id = ?", (str(order_id),))  # noqa: S608 - a test's own
