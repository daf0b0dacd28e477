"""What the ledger can tell: balances, holds, statements, events, and whether the whole book is right. Reads only."""
