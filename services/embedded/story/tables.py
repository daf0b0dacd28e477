"""The story's data as tables."""

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from services.embedded.public_api import Balance, Order, Product, StatementLine, WalletEvent

KINDS_OF_GAIN = frozenset({"funds_deposited", "sale_credited", "refund_credited"})
"""Events that bring money in."""


def _table(*columns: str, numbers: Iterable[str] = ()) -> Table:
    table = Table(header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in set(numbers) else "left", no_wrap=True)
    return table


def products_table(products: Sequence[Product], sellers: Mapping[str, str]) -> Table:
    """Show what is for sale; `sellers` gives names by user id."""
    table = _table("sku", "title", "price", "stock", "seller", numbers=("price", "stock"))
    for product in products:
        stock = "untracked" if product.stock is None else str(product.stock)
        table.add_row(product.sku, product.title, str(product.price), stock, sellers[str(product.seller_id)])
    return table


def order_table(order: Order, sellers: Mapping[str, str]) -> Table:
    """Show an order's lines."""
    table = _table("line", "sku", "quantity", "total", "seller", "refunded", numbers=("line", "quantity", "total"))
    for line in order.lines:
        table.add_row(
            str(line.line_number),
            line.sku,
            str(line.quantity),
            str(line.total),
            sellers[str(line.seller_id)],
            str(line.refunded_quantity),
        )
    return table


def order_line(order: Order) -> str:
    """Show an order as one line."""
    return f"order {order.order_id} is {order.state}: total {order.total}, refunded {order.refunded}"


def balances_table(balances: Mapping[str, Balance]) -> Table:
    """Show where the money is."""
    table = _table("wallet of", "posted", "held", "available", numbers=("posted", "held", "available"))
    for name, balance in balances.items():
        table.add_row(name, str(balance.posted), str(balance.pending_outgoing), str(balance.available))
    return table


def statement_table(lines: Sequence[StatementLine]) -> Table:
    """Show a statement."""
    table = _table(
        "journal", "line", "kind", "amount", "balance", "order", numbers=("journal", "line", "amount", "balance")
    )
    for line in lines:
        order = "" if line.order_id is None else str(line.order_id)
        table.add_row(
            str(line.journal_sequence),
            str(line.account_sequence),
            line.kind,
            str(line.amount),
            str(line.balance),
            order,
        )
    return table


def event_line(name: str, event: WalletEvent) -> Text:
    """Show a live event as one line: whose, which, and the balance after it."""
    text = Text.assemble(
        ("⚡ ", "yellow"),
        (f"{name:<8}", "bold"),
        (f"#{event.sequence:<3}", "dim"),
        (f"{event.kind:<16}", "green" if event.kind in KINDS_OF_GAIN else "cyan"),
    )
    if event.balance is not None:
        text.append(f" posted {event.balance.posted!s:>12}")
        text.append(f"   held {event.balance.pending_outgoing!s:>11}")
        text.append(f"   available {event.balance.available!s:>12}")
    text.no_wrap = True
    return text
