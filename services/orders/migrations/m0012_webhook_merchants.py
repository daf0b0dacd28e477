"""Who has registered webhooks: a row to lock, so that no two registrations count a merchant's endpoints at once."""

PHASE = "pre"

STATEMENTS = (
    # Written by the first registration. Older code neither writes nor locks it.
    "CREATE TABLE webhook_merchants (merchant_id UUID NOT NULL PRIMARY KEY)",
)
