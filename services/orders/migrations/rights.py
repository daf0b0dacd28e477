"""What orders' own user, and who only looks, may do with each table; see `services/runtime/database/grants.py`."""

from services.runtime.database.grants import JOURNAL, TableRights

RIGHTS = {
    "discrepancies": TableRights(runtime=("SELECT", "INSERT", "UPDATE", "DELETE")),
    "external_identities": TableRights(
        runtime=("SELECT", "INSERT"), reader=("SELECT (issuer, user_id, made_user, first_seen_at)",)
    ),
    "idempotency_keys": TableRights(runtime=("SELECT", "INSERT", "UPDATE", "DELETE"), reader=()),
    "inbox": TableRights(runtime=("SELECT", "INSERT", "DELETE")),
    "order_history": JOURNAL,
    "order_lines": TableRights(runtime=("SELECT", "INSERT", "UPDATE (refunded_quantity, refunded_minor)")),
    "orders": TableRights(runtime=("SELECT", "INSERT", "UPDATE")),
    "outbox": TableRights(runtime=("SELECT", "INSERT", "DELETE")),
    "outbox_relays": TableRights(runtime=("SELECT", "INSERT", "UPDATE")),
    "outbox_streams": TableRights(runtime=("SELECT", "INSERT", "UPDATE")),
    "password_resets": TableRights(runtime=("SELECT", "INSERT", "DELETE"), reader=()),
    "products": TableRights(runtime=("SELECT", "INSERT", "UPDATE")),
    "reconciliations": TableRights(runtime=("SELECT", "INSERT", "UPDATE")),
    "refresh_tokens": TableRights(runtime=("SELECT", "INSERT", "UPDATE", "DELETE"), reader=()),
    "refund_lines": JOURNAL,
    "refunds": TableRights(runtime=("SELECT", "INSERT", "UPDATE")),
    "revoked_access_tokens": TableRights(runtime=("SELECT", "INSERT", "UPDATE", "DELETE"), reader=()),
    "seller_fees": TableRights(runtime=("SELECT", "INSERT", "UPDATE")),
    "sessions": TableRights(runtime=("SELECT", "INSERT", "UPDATE", "DELETE"), reader=()),
    "users": TableRights(
        runtime=("SELECT", "INSERT", "UPDATE (password_hash, roles, generation)"),
        reader=("SELECT (user_id, roles, created_at)",),
    ),
    "webhook_deliveries": TableRights(runtime=("SELECT", "INSERT", "UPDATE", "DELETE")),
    "webhook_endpoints": TableRights(
        runtime=("SELECT", "INSERT", "UPDATE", "DELETE"),
        reader=("SELECT (endpoint_id, merchant_id, url, failures, resumes_at, created_at, removed_at)",),
    ),
    "webhook_merchants": TableRights(runtime=("SELECT", "INSERT", "UPDATE")),
}
"""By table, in the order of their names. Who only looks sees no password, no reset of one, no session, no webhook's
secret, and neither an address nor what an issuer calls somebody."""
