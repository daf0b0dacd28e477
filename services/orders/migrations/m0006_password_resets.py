"""One-use tokens by which who forgot a password sets a new one."""

PHASE = "pre"

STATEMENTS = (
    # Tokens by their hashes; a row goes when its token is used, or its user has used another one.
    """
    CREATE TABLE password_resets (
        token_hash BINARY(32) NOT NULL PRIMARY KEY,
        user_id UUID NOT NULL,
        expires_at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX password_resets_by_user ON password_resets (user_id)",
    "CREATE INDEX password_resets_by_expiry ON password_resets (expires_at)",
)
