"""The first tables of orders.

No foreign keys. Skus, addresses and keys are VARBINARY, because collations equate texts that differ. All instants are
microseconds since 1970 in UTC, all amounts minor units.
"""

PHASE = "pre"

STATEMENTS = (
    # What is for sale; `stock` is null where nobody counts.
    """
    CREATE TABLE products (
        sku VARBINARY(64) NOT NULL PRIMARY KEY,
        title VARCHAR(200) NOT NULL,
        price_minor BIGINT NOT NULL,
        currency VARCHAR(16) NOT NULL,
        seller_id UUID NOT NULL,
        stock BIGINT,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        CHECK (price_minor > 0),
        CHECK (stock IS NULL OR stock >= 0)
    )
    """,
    # An order as it is now. `due_at` is when somebody should look whether it is stuck, `looks` how often that was done
    # since it last moved.
    """
    CREATE TABLE orders (
        order_id UUID NOT NULL PRIMARY KEY,
        version BIGINT NOT NULL,
        state VARCHAR(24) NOT NULL,
        buyer_id UUID NOT NULL,
        capture VARCHAR(16) NOT NULL,
        currency VARCHAR(16) NOT NULL,
        total_minor BIGINT NOT NULL,
        captured_minor BIGINT NOT NULL,
        refunded_minor BIGINT NOT NULL,
        fee_basis_points INTEGER NOT NULL,
        rejection_reason VARCHAR(64) NOT NULL,
        rejection_message VARCHAR(512) NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        due_at BIGINT,
        looks INTEGER NOT NULL,
        CHECK (refunded_minor >= 0 AND refunded_minor <= captured_minor AND captured_minor <= total_minor)
    )
    """,
    "CREATE INDEX orders_by_buyer ON orders (buyer_id, order_id)",
    "CREATE INDEX orders_by_due ON orders (due_at)",
    # What was ordered, at the price it had.
    """
    CREATE TABLE order_lines (
        order_id UUID NOT NULL,
        line_number INTEGER NOT NULL,
        sku VARBINARY(64) NOT NULL,
        title VARCHAR(200) NOT NULL,
        quantity BIGINT NOT NULL,
        unit_price_minor BIGINT NOT NULL,
        seller_id UUID NOT NULL,
        stock_tracked BOOLEAN NOT NULL,
        refunded_quantity BIGINT NOT NULL,
        PRIMARY KEY (order_id, line_number),
        CHECK (refunded_quantity >= 0 AND refunded_quantity <= quantity)
    )
    """,
    "CREATE INDEX order_lines_by_seller ON order_lines (seller_id, order_id)",
    # Each move of each order. Insert-only.
    """
    CREATE TABLE order_history (
        order_id UUID NOT NULL,
        version BIGINT NOT NULL,
        state VARCHAR(24) NOT NULL,
        changed_at BIGINT NOT NULL,
        note VARCHAR(64) NOT NULL,
        PRIMARY KEY (order_id, version)
    )
    """,
    # Refunds: written before the ledger is asked.
    """
    CREATE TABLE refunds (
        refund_id UUID NOT NULL PRIMARY KEY,
        order_id UUID NOT NULL,
        state VARCHAR(16) NOT NULL,
        capture_number INTEGER NOT NULL,
        currency VARCHAR(16) NOT NULL,
        requested_by UUID NOT NULL,
        rejection_reason VARCHAR(64) NOT NULL,
        rejection_message VARCHAR(512) NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX refunds_by_order ON refunds (order_id, refund_id)",
    # Which pieces a refund gives back. Insert-only.
    """
    CREATE TABLE refund_lines (
        refund_id UUID NOT NULL,
        line_number INTEGER NOT NULL,
        quantity BIGINT NOT NULL,
        amount_minor BIGINT NOT NULL,
        seller_id UUID NOT NULL,
        PRIMARY KEY (refund_id, line_number)
    )
    """,
    # One key, one effect, one answer, per user.
    """
    CREATE TABLE idempotency_keys (
        user_id UUID NOT NULL,
        idempotency_key VARBINARY(128) NOT NULL,
        operation VARCHAR(16) NOT NULL,
        fingerprint BINARY(32) NOT NULL,
        state VARCHAR(16) NOT NULL,
        order_id UUID NOT NULL,
        refund_id UUID,
        lease_expires_at BIGINT NOT NULL,
        reason VARCHAR(64) NOT NULL,
        message VARCHAR(512) NOT NULL,
        details TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (user_id, idempotency_key)
    )
    """,
    "CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at)",
    # People.
    """
    CREATE TABLE users (
        user_id UUID NOT NULL PRIMARY KEY,
        email VARBINARY(1016) NOT NULL,
        password_hash VARCHAR(255) NOT NULL,
        roles VARCHAR(64) NOT NULL,
        created_at BIGINT NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX users_by_email ON users (email)",
    # Families of refresh tokens.
    """
    CREATE TABLE sessions (
        session_id UUID NOT NULL PRIMARY KEY,
        user_id UUID NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        ended_at BIGINT,
        ended_by_reuse BOOLEAN NOT NULL
    )
    """,
    "CREATE INDEX sessions_by_expiry ON sessions (expires_at)",
    """
    CREATE TABLE refresh_tokens (
        token_hash BINARY(32) NOT NULL PRIMARY KEY,
        session_id UUID NOT NULL,
        issued_at BIGINT NOT NULL,
        used_at BIGINT
    )
    """,
    "CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id)",
    # Access tokens that were revoked before they expired.
    """
    CREATE TABLE revoked_access_tokens (
        token_id VARBINARY(128) NOT NULL PRIMARY KEY,
        expires_at BIGINT NOT NULL,
        revoked_at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX revoked_access_tokens_by_expiry ON revoked_access_tokens (expires_at)",
    # See services/runtime/inbox.py.
    """
    CREATE TABLE inbox (
        consumer VARBINARY(64) NOT NULL,
        event_id BINARY(16) NOT NULL,
        received_at BIGINT NOT NULL,
        PRIMARY KEY (consumer, event_id)
    )
    """,
    # See services/runtime/outbox.py. `sequence` is the number of a pack's last event.
    """
    CREATE TABLE outbox (
        stream VARBINARY(64) NOT NULL,
        sequence BIGINT NOT NULL,
        first_sequence BIGINT NOT NULL,
        recorded_at BIGINT NOT NULL,
        payload BLOB NOT NULL,
        PRIMARY KEY (stream, sequence)
    )
    """,
    "CREATE TABLE outbox_streams (stream VARBINARY(64) NOT NULL PRIMARY KEY, last_sequence BIGINT NOT NULL)",
    """
    CREATE TABLE outbox_relays (
        stream VARBINARY(64) NOT NULL PRIMARY KEY,
        cursor_sequence BIGINT NOT NULL,
        lease_holder BINARY(16) NOT NULL,
        lease_expires_at BIGINT NOT NULL,
        fencing_token BIGINT NOT NULL
    )
    """,
)
