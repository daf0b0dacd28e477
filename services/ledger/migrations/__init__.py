"""The ledger's tables, one step a module; see `services/runtime/database/migrations.py`."""
