"""The ledger's own verification, sorted by invariant."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.embedded.sqlite_url import sqlite_url
from services.embedded.verification.progress import Progress
from services.embedded.verification.sqlite_files import damage_of
from services.ledger.queries.verification.findings import Problem
from services.ledger.queries.verify import VerifyReport, verify_database

INVARIANTS_OF_COLUMN: Mapping[tuple[str, str], tuple[int, ...]] = {
    ("postings", "amount"): (1,),
    ("balances", "credits_posted"): (1,),
    ("balances", "debits_posted"): (1, 2),
    ("balances", "overdraft_limit"): (2,),
    ("balances", "debits_pending"): (3,),
    ("balances", "credits_pending"): (3,),
    ("holds", "refunded"): (5,),
}
"""What a problem in a column contradicts, where its table alone doesn't tell."""

INVARIANTS_OF_TABLE: Mapping[str, tuple[int, ...]] = {
    "holds": (3,),
    "hold_expiries": (3,),
    "idempotency_keys": (4,),
    "capture_legs": (5,),
    "outbox": (8,),
    "wallets": (8,),
}
"""What a problem in a table contradicts; elsewhere it is the journal's own proof (7)."""

PROOF = (7,)
"""The journal is not what it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedBook:
    """What the ledger's verification found; `report` is None when the file can't even be read."""

    report: VerifyReport | None
    violations: Mapping[int, tuple[str, ...]]

    def of(self, number: int) -> tuple[str, ...]:
        """What contradicts an invariant."""
        return self.violations.get(number, ())


async def check_book(database: Path, progress: Progress) -> CheckedBook:
    """Let the ledger verify its book, and look for damage that the file system did."""
    damage = await damage_of(database)
    try:
        report = await verify_database(sqlite_url(database), lambda done, total: progress("journal", done, total))
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes of the reading is a finding
        unreadable = f"{database.name} can't be read: {error!r}"
        return CheckedBook(report=None, violations={7: (*damage, unreadable)})
    found: defaultdict[int, list[str]] = defaultdict(list)
    found[7] += damage
    for problem in report.problems:
        for number in invariants_of(problem):
            found[number].append(str(problem))
    untold = report.problems_found - len(report.problems)
    if untold:
        found[7].append(f"the ledger has {untold} more problems")
    return CheckedBook(report=report, violations={number: tuple(told) for number, told in found.items()})


def invariants_of(problem: Problem) -> tuple[int, ...]:
    """Tell which invariants a problem contradicts."""
    by_table = INVARIANTS_OF_TABLE.get(problem.table, PROOF)
    return INVARIANTS_OF_COLUMN.get((problem.table, problem.column), by_table)
