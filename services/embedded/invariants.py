"""The invariants: the one home of what must always be true, and how a check of it reads.

`verification/` checks them on a data folder; the demo, the tests and `tradeflow verify` all end with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

INVARIANTS: Mapping[int, str] = {
    1: "Each journal entry's postings sum to zero per currency, and so do all balances of a currency.",
    2: "No wallet's available balance goes below minus its overdraft limit; available = posted - pending outgoing.",
    3: "Pending outgoing = the open holds' remaining amounts; captured + voided + remaining = held.",
    4: "One key, one effect, one answer, across browser, orders and ledger.",
    5: "SETTLED means captured in the journal, and the converse; refunds never exceed captures.",
    6: "Each event is published, in order per key, and takes effect once.",
    7: "The journal is append-only and chained by hashes: no byte of it was changed.",
    8: "A wallet's event sequence has no gap.",
    9: "No service reads another's database; money is a whole number of minor units, at most 2^53 - 1 in size.",
}
"""By number, as in ARCHITECTURE.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedInvariant:
    """What a check of one invariant found."""

    number: int
    looked_at: str
    """What was compared, with counts, so that an empty check shows."""
    violations: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What must be true."""
        return INVARIANTS[self.number]

    @property
    def holds(self) -> bool:
        """Tell whether nothing contradicts it."""
        return not self.violations


def all_hold(checked: Sequence[CheckedInvariant]) -> bool:
    """Tell whether each invariant was checked and holds."""
    return {one.number for one in checked} == set(INVARIANTS) and all(one.holds for one in checked)
