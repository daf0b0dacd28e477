"""Values and rules of commerce: orders, products, refunds, users, sessions. No IO, no clock, no randomness."""
