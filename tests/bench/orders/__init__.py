"""Placed-to-settled orders a second on real servers: `make bench-orders`.

All processes are those of production; only the orders service is started once for each piece, with another setting.
"""
