"""How a verification reads."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from services.embedded.invariants import CheckedInvariant

VIOLATIONS_SHOWN_MAX = 10
"""Of one invariant, for people; the rest is counted. JSON has all of them."""


def print_report(console: Console, checked: Sequence[CheckedInvariant]) -> None:
    """Print one line an invariant, with its check mark, and below it what violates it."""
    for one in checked:
        console.print(_line(one, console.encoding), soft_wrap=True)
        for violation in one.violations[:VIOLATIONS_SHOWN_MAX]:
            console.print(Text(f"     {violation}", style="red"), soft_wrap=True)
        hidden = len(one.violations) - VIOLATIONS_SHOWN_MAX
        if hidden > 0:
            console.print(Text(f"     and {hidden:,} more, which --json lists", style="red"))


def report_as_data(checked: Sequence[CheckedInvariant]) -> dict[str, object]:
    """Tell the same to programs."""
    invariants = [
        {
            "number": one.number,
            "invariant": one.sentence,
            "holds": one.holds,
            "looked_at": one.looked_at,
            "violations": list(one.violations),
        }
        for one in checked
    ]
    return {"holds": all(one.holds for one in checked), "invariants": invariants}


def _line(one: CheckedInvariant, encoding: str) -> Text:
    in_unicode = encoding.lower().startswith("utf")
    if one.holds:
        mark = ("✔" if in_unicode else "[ok]", "bold green")
    else:
        mark = ("✘" if in_unicode else "[VIOLATED]", "bold red")
    return Text.assemble(mark, f" {one.number}. {one.sentence} ", (f"({one.looked_at})", "dim"))
