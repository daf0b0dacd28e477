"""The tables that `outbox` and `inbox` work on, as the services' migrations make them."""

from services.runtime.database.port import Database

STATEMENTS = (
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
    """
    CREATE TABLE inbox (
        consumer VARBINARY(64) NOT NULL,
        event_id BINARY(16) NOT NULL,
        received_at BIGINT NOT NULL,
        PRIMARY KEY (consumer, event_id)
    )
    """,
    "CREATE INDEX inbox_by_age ON inbox (consumer, received_at)",
)


async def create_plumbing_tables(database: Database) -> None:
    """Make them in an empty database."""
    async with database.transaction() as connection:
        for statement in STATEMENTS:
            await connection.execute(statement)
