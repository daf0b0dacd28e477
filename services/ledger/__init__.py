"""The ledger: all monetary state, in a double-entry journal that can prove itself. LEDGER's map: wiring.py."""
