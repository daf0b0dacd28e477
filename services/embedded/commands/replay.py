"""`tradeflow replay`: its story is long, and told in a folder of its own."""

from services.embedded.replay.command import replay

__all__ = ["replay"]
