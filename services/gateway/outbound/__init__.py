"""What the gateway calls: Redis, the orders service and the ledger."""
