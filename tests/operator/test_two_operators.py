"""Two operators on one Lease: one works at a time, whoever is held or killed."""

import signal
from collections.abc import Callable
from datetime import datetime

from tests.support.operator_process import Operator
from tests.support.operator_shop import OperatorShop
from tests.support.waiting import wait_until

Start = Callable[..., Operator]

LEASE_SECONDS = 6

FAILOVER_SECONDS_MAX = 20.0


def test_a_killed_leader_is_replaced_and_the_work_goes_on(shop: OperatorShop, start_operator: Start) -> None:
    leader = start_operator("leader")
    leader.wait_until_leading()
    other = start_operator("other")
    shop.topic("before")
    shop.wait_for("EventTopic", "before", "True", "InSync")
    assert not other.leads()

    leader.kill()
    # The default lease of 12 s, and the 2 s after which a candidate looks; what is over is the machine's own.
    wait_until(other.leads, "nobody took over", seconds_max=FAILOVER_SECONDS_MAX)
    shop.topic("after")
    shop.wait_for("EventTopic", "after", "True", "InSync")


def test_a_held_leader_writes_nothing_after_its_deadline(shop: OperatorShop, start_operator: Start) -> None:
    settings = {"lease_seconds": str(LEASE_SECONDS), "lease_renew_seconds": "1", "log_level": "DEBUG"}
    held = start_operator("held", **settings)
    held.wait_until_leading()
    other = start_operator("other", **settings)
    for number in range(10):
        shop.topic(f"topic-{number}", config={"retention.ms": "1000"})
    held.signal(signal.SIGSTOP)
    wait_until(other.leads, "nobody took over")
    taken_at = _time_of(other, "lease_taken")
    for number in range(10):
        shop.topic(f"topic-{number}", config={"retention.ms": "2000"})
    held.signal(signal.SIGCONT)
    for number in range(10):
        shop.wait_for("EventTopic", f"topic-{number}", "True", "InSync")

    writes = [line for line in held.lines() if line["event"] == "write" and "/leases/" not in str(line.get("path"))]
    late = [line for line in writes if datetime.fromisoformat(line["timestamp"]) > taken_at]
    assert late == []
    assert any(datetime.fromisoformat(line["timestamp"]) < taken_at for line in writes)


def _time_of(operator: Operator, event: str) -> datetime:
    return datetime.fromisoformat(next(line["timestamp"] for line in operator.lines() if line["event"] == event))
