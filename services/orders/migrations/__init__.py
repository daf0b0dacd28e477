"""The tables of orders, as numbered steps."""
