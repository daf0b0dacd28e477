"""Python's garbage collector in a process that serves: seldom, and not over what lives as long as the process."""

import gc

YOUNG_OBJECTS_MAX = 50_000
"""How many objects more than were freed bring the collector. Calls and batches make thousands that live as long as they
do, in no cycles; Python's own 700 looked at them again and again, for 2 to 5 % of the time."""


def collect_seldom() -> None:
    """Let objects that die by themselves do so."""
    gc.set_threshold(YOUNG_OBJECTS_MAX)


def keep_what_is_there() -> None:
    """Take what the start made out of every later collection: it is most of what a full one walks."""
    gc.collect()
    gc.freeze()
