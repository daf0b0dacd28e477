"""What both sides said when an order and the ledger disagreed."""

PHASE = "pre"

STATEMENTS = (
    # The order as it was compared; null for rows that older code wrote.
    "ALTER TABLE discrepancies ADD COLUMN order_state VARCHAR(24)",
    "ALTER TABLE discrepancies ADD COLUMN order_currency VARCHAR(16)",
    "ALTER TABLE discrepancies ADD COLUMN order_captured_minor BIGINT",
    "ALTER TABLE discrepancies ADD COLUMN order_refunded_minor BIGINT",
    # The hold; null where the ledger has none, or wasn't asked.
    "ALTER TABLE discrepancies ADD COLUMN hold_state VARCHAR(16)",
    "ALTER TABLE discrepancies ADD COLUMN hold_currency VARCHAR(16)",
    "ALTER TABLE discrepancies ADD COLUMN hold_captured_minor BIGINT",
    "ALTER TABLE discrepancies ADD COLUMN hold_refunded_minor BIGINT",
    "ALTER TABLE discrepancies ADD COLUMN hold_remaining_minor BIGINT",
)
