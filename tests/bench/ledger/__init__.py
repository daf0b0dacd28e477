"""How fast the ledger is, against a row-by-row baseline and against the database's own limit, all in one run.

`python -m tests.bench.ledger --help` teaches; `make bench-ledger` runs it all and writes `.bench/ledger.json`.
"""
