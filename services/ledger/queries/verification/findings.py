"""What is wrong with a book, as sentences, in the order in which it was found."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from services.ledger.domain.account import Account
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold

PROBLEMS_MAX = 100
"""How many problems are told in words; the rest is counted. One broken link of a chain is enough to act on."""


Told = Callable[[int], None]
"""Is told how many rows of a part were looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that isn't as the journal says.

    `row` names the row by its key. `column` is where it shows; what is hashed shows as `hash`, whichever column it was.
    """

    table: str
    row: str
    column: str
    message: str

    def __str__(self) -> str:
        return f"{self.table}, {self.row}, {self.column}: {self.message}"


class Findings:
    """Collects problems, boundedly."""

    def __init__(self, problems_max: int = PROBLEMS_MAX) -> None:
        """Keep the first `problems_max`."""
        self._problems_max = problems_max
        self._problems: list[Problem] = []
        self.count = 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Tell the first ones."""
        return tuple(self._problems)

    def add(self, table: str, row: str, column: str, message: str) -> None:
        """Tell one."""
        self.count += 1
        if len(self._problems) < self._problems_max:
            self._problems.append(Problem(table=table, row=row, column=column, message=message))

    def compare(self, table: str, row: str, expected: Mapping[str, object], found: Mapping[str, object]) -> None:
        """Tell of each column of `expected` that `found` has otherwise."""
        for column, value in expected.items():
            if found[column] != value:
                self.add(table, row, column, f"is {_shown(found[column])} and should be {_shown(value)}.")

    @contextmanager
    def unreadable(self, table: str, row: str, column: str) -> Iterator[None]:
        """Tell of what can't be read at all, and go on after the body."""
        try:
            yield
        except (ValueError, AttributeError, TypeError, OverflowError) as error:
            self.add(table, row, column, f"can't be read: {error}.")


def columns_of(value: Hold | CaptureLeg | Account) -> dict[str, object]:
    """Spread a value over the columns that keep it: they have its fields' names without the unit."""
    return {name.removesuffix("_minor"): getattr(value, name) for name in value.__struct_fields__}


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
