"""The event loop's process: who wakes in it waits for his turn."""

import os
import subprocess
import sys

import pytest

from services.runtime import event_loop

PROGRAM = """
import os, threading
from services.runtime import event_loop

async def policies():
    of_thread = []
    thread = threading.Thread(target=lambda: of_thread.append(os.sched_getscheduler(0)))
    thread.start()
    thread.join()
    return [os.sched_getscheduler(0), *of_thread]

print(event_loop.run(policies()) == [os.SCHED_BATCH, os.SCHED_BATCH])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the policy is Linux's own")
def test_threads_of_a_service_do_not_interrupt_its_event_loop() -> None:
    # A process of its own: the policy stays with whoever takes it.
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "True"


def test_a_service_runs_where_policies_are_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> None:
        raise PermissionError

    async def answer() -> str:
        return "done"

    monkeypatch.setattr(os, "sched_setscheduler", forbid, raising=False)
    assert event_loop.run(answer()) == "done"
