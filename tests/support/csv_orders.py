"""Order histories in the shape of the UCI Online Retail file, with every kind of trouble, from a seed."""

import csv
import io
import os
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

HEADER = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
STOCK_CODES = ("85123A", "71053", "84406B", "POST", "gift_0001_20", "C2", "BANK CHARGES", "15056bl", "été/7")
PRICES = ("2.55", "3.39", "0.85", "1.0", "12.5", "0.01", "7")
WRONG_ROWS: tuple[tuple[object, str, bool] | str, ...] = (
    (3, "0.0", True),
    (3, "-11062.06", True),
    (3, "0.001", True),
    (3, "2.555", True),
    (0, "2.55", True),
    (-5, "2.55", True),
    (3, "2.55", False),
    ("three", "2.55", True),
    (3, "two", True),
    "{invoice},{stock_code},ONLY THREE COLUMNS",
    '{invoice},{stock_code},"OPEN QUOTE,3,2010-12-01 08:26:00,2.55,{customer},Norway',
    "{invoice},{stock_code},LATE,3,the day after,2.55,{customer},Norway",
)
ONLINE_RETAIL_VARIABLE = "TRADEFLOW_ONLINE_RETAIL"
ONLINE_RETAIL_BESIDE_PROJECT = Path(__file__).parents[3] / "shared" / "data" / "online_retail.csv"


@dataclass
class HistoryWriter:
    """Writes rows one after the other, a few minutes apart."""

    rng: random.Random
    lines: list[str] = field(default_factory=lambda: [",".join(HEADER)])
    now: datetime = datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
    next_invoice: int = 536365
    bought: list[tuple[str, str, int, str]] = field(default_factory=list)

    def invoice(self, prefix: str = "") -> str:
        """Number the next invoice."""
        self.now += timedelta(minutes=self.rng.randint(0, 90))
        self.next_invoice += 1
        return f"{prefix}{self.next_invoice}"

    def row(self, invoice: str, stock_code: str, quantity: object, price: str, customer: str) -> None:
        """Write a row of now."""
        description = self.rng.choice(("WHITE METAL LANTERN", 'BOX, "LARGE"', "", "£40 voucher"))
        out = io.StringIO()
        csv.writer(out, lineterminator="").writerow(
            (invoice, stock_code, description, quantity, f"{self.now:%Y-%m-%d %H:%M:%S}", price, customer, "Norway")
        )
        self.lines.append(out.getvalue())

    def purchase(self, customer: str) -> None:
        """Write an invoice of some rows; stock codes repeat, at the same price and at others."""
        invoice = self.invoice(self.rng.choice(("", "", "", "", "A")))
        for _ in range(self.rng.randint(1, 4)):
            stock_code, price = self.rng.choice(STOCK_CODES), self.rng.choice(PRICES)
            quantity = self.rng.randint(1, 12)
            for _ in range(self.rng.choice((1, 1, 1, 2))):
                self.row(invoice, stock_code, quantity, price, customer)
                self.bought.append((customer, stock_code, quantity, price))

    def give_back(self, customer: str, stock_code: str, quantity: int, price: str) -> None:
        """Write a return of one row."""
        self.row(self.invoice("C"), stock_code, -quantity, price, customer)

    def some_return(self) -> None:
        """Return something that was bought: all, a part, in two goes, too much, or twice; or what never was."""
        customer, stock_code, quantity, price = self.rng.choice(self.bought)
        match self.rng.choice(("full", "part", "repeated", "over-large", "twice in one", "never bought")):
            case "full":
                self.give_back(customer, stock_code, quantity, price)
            case "part":
                self.give_back(customer, stock_code, max(1, quantity // 2), price)
            case "repeated":
                for _ in range(3):
                    self.give_back(customer, stock_code, quantity, price)
            case "over-large":
                self.give_back(customer, stock_code, quantity + 1000, "99.99")
            case "twice in one":
                invoice = self.invoice("C")
                self.row(invoice, stock_code, -1, price, customer)
                self.row(invoice, stock_code, -1, price, customer)
                self.row(invoice, self.rng.choice(STOCK_CODES), -2, price, customer)
            case _:
                self.give_back(customer, "NEVER", 1, price)

    def trouble(self) -> None:
        """Write something that can't be an order."""
        invoice, stock_code, customer = self.invoice(), self.rng.choice(STOCK_CODES), "17850.0"
        wrong = self.rng.choice(WRONG_ROWS)
        if isinstance(wrong, str):
            self.lines.append(wrong.format(invoice=invoice, stock_code=stock_code, customer=customer))
        else:
            quantity, price, named = wrong
            self.row(invoice, stock_code, quantity, price, customer if named else "")


def generated_history(*, seed: int, steps: int, customers: int = 6) -> bytes:
    """Write a history of so many steps: purchases, returns of all kinds, and trouble."""
    rng = random.Random(seed)  # noqa: S311  a test's example, not a secret
    writer = HistoryWriter(rng=rng)
    names = [f"{17850 + number}.0" for number in range(customers)]
    writer.give_back(names[0], "85123A", 1, "2.55")
    writer.purchase(names[0])
    for _ in range(steps):
        match rng.randrange(10):
            case 0 | 1:
                writer.trouble()
            case 2 | 3 | 4:
                writer.some_return()
            case _:
                writer.purchase(rng.choice(names))
    return ("\n".join(writer.lines) + "\n").encode()


def online_retail() -> bytes:
    """Read the real sample where it is there, or generate a history of its shape."""
    path = Path(os.environ.get(ONLINE_RETAIL_VARIABLE, ONLINE_RETAIL_BESIDE_PROJECT))
    return path.read_bytes() if path.exists() else generated_history(seed=2011, steps=800, customers=200)
