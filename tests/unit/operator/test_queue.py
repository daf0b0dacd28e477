import asyncio

from tradeflow_operator.resources import ObjectKey
from tradeflow_operator.work.queue import Priority, WorkQueue


def a_key(name: str = "orders") -> ObjectKey:
    return ObjectKey("EventTopic", "shop", name)


async def test_a_resource_that_changes_often_waits_once() -> None:
    queue = WorkQueue()

    for _ in range(100):
        queue.add(a_key(), Priority.CHANGED)

    assert len(queue) == 1


async def test_a_changed_resource_goes_ahead_of_a_resync() -> None:
    queue = WorkQueue()
    for number in range(50):
        queue.add(a_key(f"old-{number}"), Priority.RESYNC)
    queue.add(a_key("new"), Priority.CHANGED)

    assert await queue.take() == a_key("new")


async def test_a_waiting_resync_becomes_urgent_when_the_resource_changes() -> None:
    queue = WorkQueue()
    queue.add(a_key("first"), Priority.RESYNC)
    queue.add(a_key("second"), Priority.RESYNC)

    queue.add(a_key("second"), Priority.CHANGED)

    assert await queue.take() == a_key("second")
    assert len(queue) == 1


async def test_a_resource_is_never_given_to_two_workers() -> None:
    queue = WorkQueue()
    queue.add(a_key(), Priority.CHANGED)
    taken = await queue.take()
    queue.add(a_key(), Priority.CHANGED)
    second = asyncio.create_task(queue.take())
    await asyncio.sleep(0)

    assert not second.done()
    queue.done(taken)
    assert await asyncio.wait_for(second, 10) == a_key()


async def test_what_is_done_without_a_change_does_not_come_again() -> None:
    queue = WorkQueue()
    queue.add(a_key(), Priority.CHANGED)

    queue.done(await queue.take())

    assert len(queue) == 0


async def test_a_full_queue_turns_resyncs_away_and_changes_never() -> None:
    queue = WorkQueue(resyncs_max=1)
    queue.add(a_key("first"), Priority.RESYNC)

    assert not queue.add(a_key("second"), Priority.RESYNC)
    assert queue.add(a_key("third"), Priority.CHANGED)


async def test_a_later_look_comes_when_it_is_due() -> None:
    queue = WorkQueue()
    queue.add_later(a_key(), 0.01)

    assert await asyncio.wait_for(queue.take(), 10) == a_key()


async def test_a_newer_wish_for_a_later_look_replaces_the_older() -> None:
    queue = WorkQueue()
    queue.add_later(a_key("moved"), 0.01)
    queue.add_later(a_key("moved"), 3600)
    queue.add_later(a_key("other"), 0.05)

    assert await asyncio.wait_for(queue.take(), 10) == a_key("other")
    assert len(queue) == 0


async def test_a_forgotten_resource_is_not_worked_on() -> None:
    queue = WorkQueue()
    queue.add(a_key("gone"), Priority.CHANGED)
    queue.add_later(a_key("gone"), 0.01)
    queue.forget(a_key("gone"))
    queue.add_later(a_key("other"), 0.05)

    assert await asyncio.wait_for(queue.take(), 10) == a_key("other")


async def test_all_that_is_added_is_taken_by_many_workers() -> None:
    queue = WorkQueue()
    seen: list[ObjectKey] = []

    async def work() -> None:
        while len(seen) < 200:
            key = await queue.take()
            await asyncio.sleep(0)
            seen.append(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(8)]
    for number in range(200):
        queue.add(a_key(str(number)), Priority.CHANGED)
        if number % 10 == 0:
            await asyncio.sleep(0)
    await asyncio.wait(workers, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    for worker in workers:
        worker.cancel()

    assert sorted(seen) == sorted(a_key(str(number)) for number in range(200))
