"""By which each endpoint's next delivery is found, without a walk over what waits for others."""

PHASE = "pre"

STATEMENTS = (
    # Older code goes by `webhook_deliveries_by_due`, which nothing else needs.
    "CREATE INDEX webhook_deliveries_by_turn ON webhook_deliveries (endpoint_id, state, due_at)",
    "CREATE INDEX webhook_endpoints_by_turn ON webhook_endpoints (removed_at, resumes_at)",
)
