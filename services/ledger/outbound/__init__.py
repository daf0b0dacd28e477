"""The ledger's way out: SQL for the database, Protobuf for its events."""
