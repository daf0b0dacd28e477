"""The tables that `outbox` and `inbox` work on, as the services' migrations make them."""

from services.runtime.database.port import Database

STATEMENTS = (
    """
    CREATE TABLE outbox (
        stream VARBINARY(64) NOT NULL,
        sequence BIGINT NOT NULL,
        topic VARBINARY(64) NOT NULL,
        message_key VARBINARY(64) NOT NULL,
        key_sequence BIGINT NOT NULL,
        event_id BINARY(16) NOT NULL,
        event_type VARBINARY(128) NOT NULL,
        payload VARBINARY(8192) NOT NULL,
        traceparent VARBINARY(64) NOT NULL,
        recorded_at BIGINT NOT NULL,
        PRIMARY KEY (stream, sequence)
    )
    """,
    "CREATE INDEX outbox_by_key ON outbox (stream, message_key, key_sequence)",
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
    """
    CREATE TABLE inbox (
        consumer VARBINARY(64) NOT NULL,
        event_id BINARY(16) NOT NULL,
        received_at BIGINT NOT NULL,
        PRIMARY KEY (consumer, event_id)
    )
    """,
)


async def create_plumbing_tables(database: Database) -> None:
    """Make them in an empty database."""
    async with database.transaction() as connection:
        for statement in STATEMENTS:
            await connection.execute(statement)
