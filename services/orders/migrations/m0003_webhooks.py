"""Where merchants listen, and what is on its way to them."""

PHASE = "pre"

STATEMENTS = (
    # `resumes_at` is until when an endpoint that failed is left alone, `failures` how often it failed since it last
    # took a message.
    """
    CREATE TABLE webhook_endpoints (
        endpoint_id UUID NOT NULL PRIMARY KEY,
        merchant_id UUID NOT NULL,
        url VARCHAR(2048) NOT NULL,
        secret VARBINARY(64) NOT NULL,
        old_secret VARBINARY(64),
        old_secret_ends_at BIGINT,
        failures INTEGER NOT NULL,
        resumes_at BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        removed_at BIGINT
    )
    """,
    "CREATE INDEX webhook_endpoints_by_merchant ON webhook_endpoints (merchant_id, endpoint_id)",
    # A message to one endpoint. `due_at` is when to try; null when it ended. `status` is what was answered last, 0 when
    # nothing was.
    """
    CREATE TABLE webhook_deliveries (
        endpoint_id UUID NOT NULL,
        message_id UUID NOT NULL,
        event_type VARCHAR(64) NOT NULL,
        order_id UUID NOT NULL,
        body BLOB NOT NULL,
        state VARCHAR(16) NOT NULL,
        attempts INTEGER NOT NULL,
        status INTEGER NOT NULL,
        error VARCHAR(200) NOT NULL,
        due_at BIGINT,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        PRIMARY KEY (endpoint_id, message_id)
    )
    """,
    "CREATE INDEX webhook_deliveries_by_due ON webhook_deliveries (due_at, endpoint_id)",
    "CREATE INDEX webhook_deliveries_by_end ON webhook_deliveries (state, updated_at)",
)
