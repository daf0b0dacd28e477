"""Counters by which all sessions and tokens of a user end at once."""

PHASE = "pre"

STATEMENTS = (
    # How often the user ended all sessions. 0 for everybody so far.
    "ALTER TABLE users ADD COLUMN generation BIGINT NOT NULL DEFAULT 0",
    # The user's when the session began: one of an older generation has ended. 0 in rows that older code wrote.
    "ALTER TABLE sessions ADD COLUMN generation BIGINT NOT NULL DEFAULT 0",
)
