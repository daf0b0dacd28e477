"""The orders service: products, orders, refunds, users and sessions. It decides, and asks the ledger about money."""
