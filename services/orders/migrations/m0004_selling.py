"""What the platform keeps of each seller's sales, and money that goes back without goods."""

PHASE = "pre"

STATEMENTS = (
    # Who has no row here gives what the settings say. Orders keep the fee that they were placed with.
    """
    CREATE TABLE seller_fees (
        seller_id UUID NOT NULL PRIMARY KEY,
        fee_basis_points INTEGER NOT NULL,
        changed_by UUID NOT NULL,
        changed_at BIGINT NOT NULL,
        CHECK (fee_basis_points >= 0 AND fee_basis_points <= 10000)
    )
    """,
    # Null in rows that older code wrote: as the order says.
    "ALTER TABLE order_lines ADD COLUMN fee_basis_points INTEGER",
    # 0 in rows that older code wrote, which refunds pieces alone.
    "ALTER TABLE order_lines ADD COLUMN refunded_minor BIGINT NOT NULL DEFAULT 0",
)
