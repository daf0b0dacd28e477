"""Effects: what the operator reads and writes outside of itself. Each write passes the fence of the lease."""
