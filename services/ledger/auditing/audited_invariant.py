"""What the audit looks for, by the names that metrics, logs and alerts use."""

from enum import Enum


class AuditedInvariant(Enum):
    """One thing that is always true of a book; the numbers are those of the invariants in ARCHITECTURE.md."""

    ZERO_SUM = "zero_sum"
    """1: all balances of a currency sum to zero."""
    BALANCES_MATCH_POSTINGS = "balances_match_postings"
    """1: each balance is what its account's last posting says, and each account what the journal opened."""
    LIMITS_KEPT = "limits_kept"
    """2: no wallet's available balance is below minus its overdraft limit."""
    PENDING_IS_HELD = "pending_is_held"
    """3: each account's pending outgoing is what remains of its open holds."""
    HOLDS_ADD_UP = "holds_add_up"
    """3: captured + voided + remaining = held, and each hold is what the journal left of it."""
    JOURNAL_CHAINED = "journal_chained"
    """1, 7: the newest records are chained without a gap, and the postings of each sum to zero."""
