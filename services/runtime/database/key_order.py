"""Going through a table in the order of a key of several columns, in spans that each cost the same."""

from collections.abc import Sequence


def behind(columns: Sequence[str], *, first: int) -> str:
    """Write the condition that a row's key lies behind that of `$first`, `$first + 1`, …, one for each column.

    `(a, b) > ($1, $2)` would say the same, and MySQL reads no range of an index for it.
    """
    column, *others = columns
    beyond = f"{column} > ${first}"
    return f"({beyond} OR ({column} = ${first} AND {behind(others, first=first + 1)}))" if others else beyond
