"""Which tests share a worker: those of a file, and all that need the machine's one cluster.

Two workers that need it would wait for each other, each for as long as the other has tests.
"""

from xdist.scheduler import LoadFileScheduling

ONE_CLUSTER = "tests/cluster"
"""The folder of those tests."""


class OneClusterScheduling(LoadFileScheduling):  # type: ignore[misc] # it has no annotations
    """As `--dist loadfile`, but for the one cluster."""

    def _split_scope(self, nodeid: str) -> str:
        """Name what a test stays together with."""
        return ONE_CLUSTER if nodeid.startswith(f"{ONE_CLUSTER}/") else str(super()._split_scope(nodeid))
