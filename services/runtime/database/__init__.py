"""Databases behind one port, and their migrations.

`port` is what services code against; `opening` picks the adapter by the scheme of a URL; `dialect` turns the port's SQL
into SQLite's; `sqlite`, `sqlite_transaction`, `sqlite_pool` and `sqlite_session` are the embedded adapter, from the
outside in.
"""
