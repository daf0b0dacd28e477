"""Who moved an order and why, and where orders and the ledger disagree."""

PHASE = "pre"

STATEMENTS = (
    # What the order was before; empty for its first row, and for rows that older code wrote.
    "ALTER TABLE order_history ADD COLUMN from_state VARCHAR(24) NOT NULL DEFAULT ''",
    # Who moved it: `user:` and an id, `ledger` or `reconciler`; empty for rows that older code wrote.
    "ALTER TABLE order_history ADD COLUMN moved_by VARCHAR(64) NOT NULL DEFAULT ''",
    # The ledger's record behind the move, where its answer named one.
    "ALTER TABLE order_history ADD COLUMN journal_sequence BIGINT",
    # What a comparison with the ledger found. `healed_at` is null while it is so.
    """
    CREATE TABLE discrepancies (
        order_id UUID NOT NULL,
        kind VARCHAR(32) NOT NULL,
        message VARCHAR(512) NOT NULL,
        first_seen_at BIGINT NOT NULL,
        last_seen_at BIGINT NOT NULL,
        seen BIGINT NOT NULL,
        healed_at BIGINT,
        PRIMARY KEY (order_id, kind)
    )
    """,
    "CREATE INDEX discrepancies_by_healing ON discrepancies (healed_at, kind)",
    # How far the comparison of a scope is. `began_at` is of the round under way, `compared_at` of the last whole one,
    # `taken_until` keeps two replicas from the same step.
    """
    CREATE TABLE reconciliations (
        scope VARBINARY(16) NOT NULL PRIMARY KEY,
        cursor_order_id UUID NOT NULL,
        began_at BIGINT NOT NULL,
        compared_at BIGINT NOT NULL,
        taken_until BIGINT NOT NULL
    )
    """,
)
