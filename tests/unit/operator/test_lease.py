import pytest

from tests.support.fake_kubernetes import FakeCluster, FakeKubernetes
from tradeflow_operator.clients.fence import MARGIN_SECONDS, Fence
from tradeflow_operator.errors import NotLeaderError
from tradeflow_operator.work.lease import Leadership

PATH = "/apis/coordination.k8s.io/v1/namespaces/system/leases/tradeflow-operator"


class HandClock:
    """A monotonic clock that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def a_candidate(cluster: FakeCluster, identity: str, clock: HandClock) -> tuple[Leadership, Fence]:
    fence = Fence(clock)
    leadership = Leadership(
        FakeKubernetes(cluster),
        fence,
        namespace="system",
        name="tradeflow-operator",
        identity=identity,
        lease_seconds=12,
        renew_seconds=2.0,
        clock=clock,
    )
    return leadership, fence


async def test_the_first_candidate_leads_and_the_second_waits() -> None:
    cluster, clock = FakeCluster(), HandClock()
    first, _ = a_candidate(cluster, "first", clock)
    second, _ = a_candidate(cluster, "second", clock)

    await first.try_once()
    await second.try_once()

    assert first.leads
    assert not second.leads
    assert cluster.objects[PATH]["spec"]["holderIdentity"] == "first"


async def test_a_lease_that_is_not_renewed_is_taken_over_and_the_old_leader_wrote_nothing_meanwhile() -> None:
    cluster, clock = FakeCluster(), HandClock()
    first, first_fence = a_candidate(cluster, "first", clock)
    second, _ = a_candidate(cluster, "second", clock)
    await first.try_once()
    await second.try_once()

    clock.now += 12 - MARGIN_SECONDS
    with pytest.raises(NotLeaderError):
        first_fence.write_seconds(5.0)
    await second.try_once()
    assert not second.leads

    clock.now += MARGIN_SECONDS
    await second.try_once()
    await first.try_once()
    assert (first.leads, second.leads) == (False, True)


async def test_a_renewed_lease_is_not_taken_over() -> None:
    cluster, clock = FakeCluster(), HandClock()
    first, _ = a_candidate(cluster, "first", clock)
    second, _ = a_candidate(cluster, "second", clock)

    for _ in range(20):
        await first.try_once()
        await second.try_once()
        clock.now += 2

    assert first.leads
    assert not second.leads


async def test_of_two_that_take_over_at_once_one_leads() -> None:
    cluster, clock = FakeCluster(), HandClock()
    second, _ = a_candidate(cluster, "second", clock)
    third, _ = a_candidate(cluster, "third", clock)
    await a_candidate(cluster, "first", clock)[0].try_once()
    await second.try_once()
    await third.try_once()
    clock.now += 12
    raced = False

    def race(_method: str, _path: str) -> None:
        nonlocal raced
        if not raced:
            raced = True
            cluster.objects[PATH]["metadata"]["resourceVersion"] = "written by the other"

    cluster.before_write = race
    await second.try_once()
    await third.try_once()

    assert not second.leads
    assert third.leads


async def test_a_write_lasts_no_longer_than_the_lease() -> None:
    clock = HandClock()
    fence = Fence(clock)
    fence.open_until(clock.now + 3.0)

    assert fence.write_seconds(5.0) == pytest.approx(3.0 - MARGIN_SECONDS)
    assert fence.write_seconds(0.5) == pytest.approx(0.5)


async def test_a_leader_that_stops_lets_the_next_lead_at_once() -> None:
    cluster, clock = FakeCluster(), HandClock()
    first, first_fence = a_candidate(cluster, "first", clock)
    second, _ = a_candidate(cluster, "second", clock)
    await first.try_once()

    await first.give_up()
    await second.try_once()

    assert not first_fence.is_open
    assert second.leads


async def test_a_leader_that_cannot_renew_leads_until_its_deadline_and_no_longer() -> None:
    cluster, clock = FakeCluster(), HandClock()
    leader, _ = a_candidate(cluster, "first", clock)
    await leader.try_once()
    cluster.is_away = True

    clock.now += 5
    await leader.try_once()
    assert leader.leads

    clock.now += 12
    await leader.try_once()
    assert not leader.leads
