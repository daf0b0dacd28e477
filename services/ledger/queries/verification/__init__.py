"""What `verify` looks at, table by table: one snapshot, read in pages, so that memory doesn't grow with the book."""
