"""What the ledger does by itself when time has passed: holds run out, old answers shrink and go.

Each chore finds rows without a lock, in steps that are bounded in rows and time, and lets the committer do the rest. Of
several replicas the leading committer's does them; two that do them at once do no harm. Published events are pruned by
the outbox's relay (services/runtime/outbox_pruning.py), which needs no lock of the book.
"""
