"""Which tests share a worker: those of a file, and all that the machine's network has only one of.

Two workers that need the one cluster would wait for each other, each for as long as the other has tests. And while pods
come and go, the machine's interfaces do too, at which a browser gives up whatever it loads (ERR_NETWORK_CHANGED).
"""

from xdist.scheduler import LoadFileScheduling

ONE_AFTER_THE_OTHER = ("tests/cluster/", "tests/browser/")
"""The folders of those tests."""


class OneNetworkScheduling(LoadFileScheduling):  # type: ignore[misc] # it has no annotations
    """As `--dist loadfile`, but for the one network."""

    def _split_scope(self, nodeid: str) -> str:
        """Name what a test stays together with."""
        if nodeid.startswith(ONE_AFTER_THE_OTHER):
            return "the one network"
        return str(super()._split_scope(nodeid))
