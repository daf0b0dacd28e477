"""Which request holds a key's lease, so that one whose beginning was never answered knows its own."""

PHASE = "pre"

STATEMENTS = (
    # Null in rows that older code wrote: nobody's own.
    "ALTER TABLE idempotency_keys ADD COLUMN lease_holder UUID",
)
