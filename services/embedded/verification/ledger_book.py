"""The ledger's own verification, sorted by invariant."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from services.embedded.book_source import BookSource
from services.embedded.verification.progress import Progress
from services.embedded.verification.sqlite_files import damage_of
from services.ledger.proof.head_file import HeadFile
from services.ledger.proof.verify_proof import ProofReport, verify_proof
from services.ledger.queries.verification.findings import Problem
from services.ledger.queries.verify import VerifyReport, verify_book
from services.runtime.database.port import NotGrantedError
from services.runtime.errors import NotFoundError, UnavailableError

INVARIANTS_OF_COLUMN: Mapping[tuple[str, str], tuple[int, ...]] = {
    ("postings", "amount"): (1,),
    ("balances", "credits_posted"): (1,),
    ("balances", "debits_posted"): (1, 2),
    ("balances", "overdraft_limit"): (2,),
    ("balances", "debits_pending"): (3,),
    ("balances", "credits_pending"): (3,),
    ("balances", "event_sequence"): (8,),
    ("holds", "refunded"): (5,),
}
"""What a problem in a column contradicts, where its table alone doesn't tell."""

INVARIANTS_OF_TABLE: Mapping[str, tuple[int, ...]] = {
    "holds": (3,),
    "hold_expiries": (3,),
    "idempotency_keys": (4,),
    "capture_legs": (5,),
    "outbox": (8,),
    "outbox_relays": (8,),
}
"""What a problem in a table contradicts; elsewhere it is the journal's own proof (7)."""

PROOF = (7,)
"""The journal is not what it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedBook:
    """What the ledger's verification found; the reports are None when the file can't even be read."""

    report: VerifyReport | None
    proof: ProofReport | None
    violations: Mapping[int, tuple[str, ...]]

    def of(self, number: int) -> tuple[str, ...]:
        """What contradicts an invariant."""
        return self.violations.get(number, ())


async def check_book(
    source: BookSource, progress: Progress, *, from_sequence: int = 1, kept: HeadFile | None = None
) -> CheckedBook:
    """Let the ledger verify its book, and look for damage that the file system did.

    Args:
        source: Which.
        progress: Is told of each step.
        from_sequence: The first record to check.
        kept: A signed head from elsewhere, which the journal must still fit.

    Raises:
        NotFoundError: There is no such book, nor a record of it, and no head that was kept of it.
        NotGrantedError: The database's user may not read all of it.
        UnavailableError: The database's server can't be reached now, or doesn't answer in time.
    """
    damage = await damage_of(source.file) if source.file is not None else []
    try:
        async with source.opened() as book:
            report = await verify_book(book, progress, from_sequence=from_sequence)
            proof = await verify_proof(book, lambda done, total: progress("proof", done, total), kept=kept)
    except NotGrantedError:
        raise
    except Exception as error:  # whatever a damaged file makes of the reading is a finding
        if isinstance(error, UnavailableError) and source.file is None:
            raise
        if isinstance(error, NotFoundError) and kept is None:
            raise
        unreadable = f"{source.name} can't be read: {error!r}"
        return CheckedBook(report=None, proof=None, violations={7: (*damage, unreadable)})
    found: defaultdict[int, list[str]] = defaultdict(list)
    found[7] += damage
    for problem in (*report.problems, *proof.problems):
        for number in invariants_of(problem):
            found[number].append(str(problem))
    untold = report.problems_found - len(report.problems) + proof.problems_found - len(proof.problems)
    if untold:
        found[7].append(f"the ledger has {untold} more problems")
    violations = {number: tuple(told) for number, told in found.items()}
    return CheckedBook(report=report, proof=proof, violations=violations)


def invariants_of(problem: Problem) -> tuple[int, ...]:
    """Tell which invariants a problem contradicts."""
    by_table = INVARIANTS_OF_TABLE.get(problem.table, PROOF)
    return INVARIANTS_OF_COLUMN.get((problem.table, problem.column), by_table)
