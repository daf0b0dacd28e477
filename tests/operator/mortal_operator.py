"""An operator that is killed (SIGKILL) again and again, near its writes rather than while it waits."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.operator_process import Operator
from tests.support.waiting import PATIENCE_SECONDS

EARLY_DEATHS = 0.1
"""How many die before they lead, or soon after."""

WRITES_MAX = 9
"""So many begin before a death at most."""

LIFE_SECONDS_MAX = 1.5
"""As a leader: a life in which nothing is left to do ends, too."""

LAST_MOMENT_SECONDS_MAX = 0.03
"""A write is answered within such a time: the kill falls before it arrives, before its answer or after it."""

WRITES = (b'"event":"write"', b'"event":"step"')
"""What the log says right before each."""

LEADS = b'"lease_taken"'

LEASE_RENEWAL = b"/leases/"
"""In the log's line of a write that proves nothing."""

BUGS = frozenset({"reconcile_failed", "visit_crashed", "visit_cut_off", "loop_ended"})
"""What no kill excuses."""

SETTINGS = {
    "resync_seconds": "2",
    "backoff_longest_seconds": "2",
    "lease_seconds": "4",
    "lease_renew_seconds": "0.5",
    "log_level": "DEBUG",
}


class MortalOperator:
    """One operator after the other, each with a Lease of its own.

    The one before is dead and writes no more, so nobody has to wait for its Lease to run out: test_two_operators.py
    shows how that is waited for.
    """

    def __init__(self, namespace: KubernetesNamespace, folder: Path, chance: Random) -> None:
        """Start none yet."""
        self._namespace = namespace
        self._folder = folder
        self._chance = chance
        self.lives: list[Operator] = []

    def begin(self) -> Operator:
        """Start one, and don't wait for it."""
        name = f"life-{len(self.lives)}"
        served = {
            "namespaces": json.dumps([self._namespace.name]),
            "lease_namespace": self._namespace.name,
            "lease_name": name,
        }
        operator = Operator(self._namespace.kubeconfig, self._folder / f"{name}.log", {**SETTINGS, **served})
        self.lives.append(operator)
        return operator

    def die(self) -> None:
        """Kill the one that lives: at its start, a moment after so many writes began, or when it has had its time."""
        operator, writes = self.lives[-1], self._chance.randint(1, WRITES_MAX)
        life_seconds = self._chance.uniform(0.5, 1.0) * LIFE_SECONDS_MAX
        if self._chance.random() < EARLY_DEATHS:
            time.sleep(self._chance.uniform(0.0, 1.0))
        else:
            _wait(lambda: LEADS in _log_of(operator), seconds_max=PATIENCE_SECONDS)
            _wait(lambda: _writes_begun(operator) >= writes, seconds_max=life_seconds)
            time.sleep(self._chance.uniform(0.0, LAST_MOMENT_SECONDS_MAX))
        operator.kill()

    def bugs(self) -> list[object]:
        """List what was logged that no kill excuses."""
        return [line for life in self.lives for line in life.lines() if line["event"] in BUGS]


@contextmanager
def mortal_operator(namespace: KubernetesNamespace, folder: Path, chance: Random) -> Iterator[MortalOperator]:
    """Give one to the body; none outlives it."""
    operator = MortalOperator(namespace, folder, chance)
    try:
        yield operator
    finally:
        for life in operator.lives:
            life.kill()


def _writes_begun(operator: Operator) -> int:
    log = _log_of(operator)
    return sum(map(log.count, WRITES)) - log.count(LEASE_RENEWAL)


def _log_of(operator: Operator) -> bytes:
    return operator.log_file.read_bytes() if operator.log_file.exists() else b""


def _wait(condition: Callable[[], bool], *, seconds_max: float) -> None:
    """Wait for a moment that may never come; look often, since it is short."""
    until = time.monotonic() + seconds_max
    while not condition() and time.monotonic() < until:
        time.sleep(0.002)
