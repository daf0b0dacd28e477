"""What the ledger can be told to do: one file a command, with what it asks, its guards in order, and what it changes.

All of it is pure. `decision.decide` takes a batch's commands one by one; the committer brings the state and writes the
decision.
"""
