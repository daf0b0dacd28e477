"""The demo's story: one order's whole life, told with the data as it moves, through the public API alone."""
