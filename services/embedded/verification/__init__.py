"""Check the invariants on a data folder, each part through what its own service offers for it."""
