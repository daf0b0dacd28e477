"""TradeFlow for trying out: all three services in one process on embedded parts, and the `tradeflow` command line."""
