"""What the ledger's own user, and who only looks, may do with each table; see `services/runtime/database/grants.py`."""

from services.runtime.database.grants import JOURNAL, TableRights

RIGHTS = {
    "accounts": JOURNAL,
    "backdated": JOURNAL,
    "balances": TableRights(runtime=("SELECT", "INSERT", "UPDATE")),
    "book_leases": TableRights(runtime=("SELECT", "INSERT", "UPDATE")),
    "books": TableRights(runtime=("SELECT", "INSERT", "UPDATE")),
    "capture_legs": TableRights(runtime=("SELECT", "INSERT", "UPDATE")),
    "hold_expiries": TableRights(runtime=("SELECT", "INSERT", "DELETE")),
    "holds": TableRights(runtime=("SELECT", "INSERT", "UPDATE")),
    "idempotency_keys": TableRights(runtime=("SELECT", "INSERT", "UPDATE", "DELETE")),
    "outbox": TableRights(runtime=("SELECT", "INSERT", "DELETE")),
    "outbox_relays": TableRights(runtime=("SELECT", "INSERT", "UPDATE")),
    "postings": JOURNAL,
    "records": JOURNAL,
    "reversals": JOURNAL,
    "signed_heads": JOURNAL,
    "signing_keys": JOURNAL,
    "tree_nodes": JOURNAL,
}
"""By table, in the order of their names."""
