"""The ledger's first tables.

No foreign keys; tables that are upserted have a primary key only (a secondary UNIQUE deadlocks between books even
under READ COMMITTED), those that only grow may have indexes; keys and codes are VARBINARY, because collations equate
keys that differ. All instants are microseconds since 1970 in UTC, all amounts minor units. Rows are few and small: a
transfer between two accounts is a record, two postings, two balances and a share of an outbox pack.
"""

PHASE = "pre"

STATEMENTS = (
    # The head row of each book: the lock, the order and the chain. Created by the service at its first start.
    """
    CREATE TABLE books (
        book_id INTEGER NOT NULL PRIMARY KEY,
        revision BIGINT NOT NULL,
        last_sequence BIGINT NOT NULL,
        last_hash BINARY(32) NOT NULL,
        last_recorded_at BIGINT NOT NULL,
        last_account_id BIGINT NOT NULL,
        last_event_sequence BIGINT NOT NULL
    )
    """,
    # What never changes of an account. Insert-only.
    """
    CREATE TABLE accounts (
        book_id INTEGER NOT NULL,
        code VARBINARY(128) NOT NULL,
        account_id BIGINT NOT NULL,
        account_type VARBINARY(16) NOT NULL,
        wallet_id BINARY(16),
        currency VARBINARY(16) NOT NULL,
        opened_sequence BIGINT NOT NULL,
        PRIMARY KEY (book_id, code)
    )
    """,
    "CREATE INDEX accounts_by_id ON accounts (book_id, account_id)",
    "CREATE INDEX accounts_by_wallet ON accounts (book_id, wallet_id)",
    # What changes of an account: absolute values, upserted. System accounts have the largest overdraft limit;
    # `limit_sequence` names the record that set it. `event_sequence` is the wallet's newest event number, and
    # `event_position` that event's place in the outbox, as of this account's last event: the wallet's newest are the
    # largest over its accounts.
    """
    CREATE TABLE balances (
        book_id INTEGER NOT NULL,
        account_id BIGINT NOT NULL,
        debits_posted BIGINT NOT NULL,
        credits_posted BIGINT NOT NULL,
        debits_pending BIGINT NOT NULL,
        credits_pending BIGINT NOT NULL,
        overdraft_limit BIGINT NOT NULL,
        limit_sequence BIGINT NOT NULL,
        account_sequence BIGINT NOT NULL,
        last_posting_hash BINARY(32) NOT NULL,
        event_sequence BIGINT NOT NULL,
        event_position BIGINT NOT NULL,
        PRIMARY KEY (book_id, account_id),
        CHECK (credits_posted - debits_posted - debits_pending + overdraft_limit >= 0),
        CHECK (debits_posted >= 0 AND credits_posted >= 0 AND debits_pending >= 0 AND credits_pending >= 0)
    )
    """,
    # The journal: one chained record for each accepted change of state, with postings or without. Insert-only. The
    # last record of a command carries its key, so that an accepted key is as durable as its effect and can't have two.
    """
    CREATE TABLE records (
        book_id INTEGER NOT NULL,
        sequence BIGINT NOT NULL,
        kind VARBINARY(24) NOT NULL,
        recorded_at BIGINT NOT NULL,
        effective_at BIGINT NOT NULL,
        record_id BINARY(16) NOT NULL,
        hold_id BINARY(16),
        key_hash BINARY(32) NOT NULL,
        service VARBINARY(64),
        idempotency_key VARBINARY(128),
        fingerprint_version INTEGER,
        fingerprint BINARY(32),
        state_after VARBINARY(16384) NOT NULL,
        metadata VARBINARY(4096) NOT NULL,
        postings_root BINARY(32) NOT NULL,
        hash BINARY(32) NOT NULL,
        PRIMARY KEY (book_id, sequence)
    )
    """,
    # The book comes last: were it first, MySQL would read a range of records through these indexes and sort them.
    "CREATE UNIQUE INDEX records_by_key ON records (service, idempotency_key, book_id)",
    "CREATE INDEX records_by_hold ON records (hold_id, book_id)",
    # The legs of journal entries. `amount` is positive when the account is credited, negative when it is debited;
    # `balance_after` is credits - debits after it. Insert-only.
    """
    CREATE TABLE postings (
        book_id INTEGER NOT NULL,
        sequence BIGINT NOT NULL,
        leg INTEGER NOT NULL,
        account_id BIGINT NOT NULL,
        account_sequence BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        balance_after BIGINT NOT NULL,
        salt BINARY(16) NOT NULL,
        hash BINARY(32) NOT NULL,
        PRIMARY KEY (book_id, sequence, leg)
    )
    """,
    "CREATE INDEX postings_by_account ON postings (book_id, account_id, account_sequence)",
    # Postings that count for another day than the one they were recorded on: with them, a balance by recorded time
    # becomes one by effective date. Insert-only.
    """
    CREATE TABLE backdated (
        book_id INTEGER NOT NULL,
        account_id BIGINT NOT NULL,
        effective_at BIGINT NOT NULL,
        sequence BIGINT NOT NULL,
        leg INTEGER NOT NULL,
        recorded_at BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        PRIMARY KEY (book_id, account_id, effective_at, sequence, leg)
    )
    """,
    # Which record took back which: a record is reversed once at most. Insert-only.
    """
    CREATE TABLE reversals (
        book_id INTEGER NOT NULL,
        sequence BIGINT NOT NULL,
        reversed_by BIGINT NOT NULL,
        PRIMARY KEY (book_id, sequence)
    )
    """,
    # Holds and tombstones. Upserted. captured + voided + remaining = held.
    """
    CREATE TABLE holds (
        book_id INTEGER NOT NULL,
        hold_id BINARY(16) NOT NULL,
        service VARBINARY(64) NOT NULL,
        wallet_id BINARY(16) NOT NULL,
        account_id BIGINT NOT NULL,
        currency VARBINARY(16) NOT NULL,
        state VARBINARY(16) NOT NULL,
        held BIGINT NOT NULL,
        captured BIGINT NOT NULL,
        voided BIGINT NOT NULL,
        refunded BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        last_sequence BIGINT NOT NULL,
        PRIMARY KEY (book_id, hold_id)
    )
    """,
    # Which holds may fall due: a queue in order of time. A row is made at reserve and forgotten once it is due,
    # whatever became of the hold. Insert-only but for that.
    """
    CREATE TABLE hold_expiries (
        book_id INTEGER NOT NULL,
        expires_at BIGINT NOT NULL,
        hold_id BINARY(16) NOT NULL,
        PRIMARY KEY (book_id, expires_at, hold_id)
    )
    """,
    # What each seller got of each capture, and gave back. Upserted.
    """
    CREATE TABLE capture_legs (
        book_id INTEGER NOT NULL,
        hold_id BINARY(16) NOT NULL,
        capture_number INTEGER NOT NULL,
        seller_id BINARY(16) NOT NULL,
        account_id BIGINT NOT NULL,
        fee_basis_points INTEGER NOT NULL,
        gross BIGINT NOT NULL,
        fee BIGINT NOT NULL,
        gross_refunded BIGINT NOT NULL,
        fee_returned BIGINT NOT NULL,
        reversed_by BIGINT NOT NULL,
        last_sequence BIGINT NOT NULL,
        PRIMARY KEY (book_id, hold_id, capture_number, seller_id)
    )
    """,
    # Answers that made no record: refusals, and commands that were already true (`reason` is empty). `details` is a
    # refusal's JSON object of texts; `hash` covers the row, which no record does. Insert-only, and pruned.
    """
    CREATE TABLE idempotency_keys (
        book_id INTEGER NOT NULL,
        service VARBINARY(64) NOT NULL,
        idempotency_key VARBINARY(128) NOT NULL,
        fingerprint_version INTEGER NOT NULL,
        fingerprint BINARY(32) NOT NULL,
        reason VARBINARY(64) NOT NULL,
        message VARBINARY(512) NOT NULL,
        details VARBINARY(1024) NOT NULL,
        hold_id BINARY(16),
        recorded_at BIGINT NOT NULL,
        hash BINARY(32) NOT NULL,
        PRIMARY KEY (book_id, service, idempotency_key)
    )
    """,
    "CREATE INDEX idempotency_keys_by_time ON idempotency_keys (book_id, recorded_at)",
    # Who is the committer of a book: it caches, and works ahead. Others commit too, only slower.
    """
    CREATE TABLE book_leases (
        book_id INTEGER NOT NULL PRIMARY KEY,
        holder BINARY(16) NOT NULL,
        expires_at BIGINT NOT NULL,
        fencing_token BIGINT NOT NULL
    )
    """,
    # See services/runtime/outbox.py: events in packs, named by the sequence of their last one. Packs stay behind the
    # relay's cursor for a while: they are the history that clients resume from.
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
