"""The ledger's values and rules: accounts, holds, the journal and its proof. No IO, no clock, no randomness."""
