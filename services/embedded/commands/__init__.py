"""The subcommands of `tradeflow`, one file each."""
