"""The ledger: all monetary state, in a double-entry journal that can prove itself. `wiring.py` says of what."""
