"""The ledger's first tables.

No foreign keys; tables that are upserted have a primary key only (a secondary UNIQUE deadlocks between books even
under READ COMMITTED); keys and codes are VARBINARY, because collations equate keys that differ. All instants are
microseconds since 1970 in UTC, all amounts minor units.
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
    # What changes of an account: absolute values, upserted. System accounts have the largest overdraft limit.
    """
    CREATE TABLE balances (
        book_id INTEGER NOT NULL,
        account_id BIGINT NOT NULL,
        debits_posted BIGINT NOT NULL,
        credits_posted BIGINT NOT NULL,
        debits_pending BIGINT NOT NULL,
        credits_pending BIGINT NOT NULL,
        overdraft_limit BIGINT NOT NULL,
        account_sequence BIGINT NOT NULL,
        last_posting_hash BINARY(32) NOT NULL,
        PRIMARY KEY (book_id, account_id),
        CHECK (credits_posted - debits_posted - debits_pending + overdraft_limit >= 0),
        CHECK (debits_posted >= 0 AND credits_posted >= 0 AND debits_pending >= 0 AND credits_pending >= 0)
    )
    """,
    # The gap-free event sequence of each wallet. Upserted.
    """
    CREATE TABLE wallets (
        book_id INTEGER NOT NULL,
        wallet_id BINARY(16) NOT NULL,
        event_sequence BIGINT NOT NULL,
        PRIMARY KEY (book_id, wallet_id)
    )
    """,
    # The journal: one chained record for each accepted change of state, with postings or without. Insert-only.
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
        state_after VARBINARY(8192) NOT NULL,
        metadata VARBINARY(4096) NOT NULL,
        postings_root BINARY(32) NOT NULL,
        hash BINARY(32) NOT NULL,
        PRIMARY KEY (book_id, sequence)
    )
    """,
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
    # Which holds may fall due: a row at reserve, gone at commit, capture, void or expiry. A queue in order of time.
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
        last_sequence BIGINT NOT NULL,
        PRIMARY KEY (book_id, hold_id, capture_number, seller_id)
    )
    """,
    # One key, one effect, one answer. `reason` is empty for an accepted command; `details` is a refusal's JSON object
    # of texts. Insert-only. It is the inbox of order-events too: the key of a capture names the order and the number.
    """
    CREATE TABLE idempotency_keys (
        book_id INTEGER NOT NULL,
        service VARBINARY(64) NOT NULL,
        idempotency_key VARBINARY(128) NOT NULL,
        fingerprint_version INTEGER NOT NULL,
        fingerprint BINARY(32) NOT NULL,
        sequence BIGINT NOT NULL,
        reason VARBINARY(64) NOT NULL,
        message VARBINARY(512) NOT NULL,
        details VARBINARY(1024) NOT NULL,
        hold_id BINARY(16),
        recorded_at BIGINT NOT NULL,
        PRIMARY KEY (book_id, service, idempotency_key)
    )
    """,
    # See services/runtime/outbox.py. Rows stay behind the cursor for a while: they are the history that clients
    # resume from, found by `outbox_by_key`.
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
