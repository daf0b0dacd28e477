"""The ledger's values and rules: accounts, holds, the journal and its proof. No IO, no clock, no randomness.

Values are frozen Structs without garbage collection (`gc=False`): what is frozen and holds only values can be in no
cycle, and thousands of them a batch would make the collector walk over everything again and again.
"""
