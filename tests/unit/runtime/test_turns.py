import asyncio

from services.runtime.turns import in_turns, pieces_in_turns


async def test_others_get_their_turn_after_every_few_items() -> None:
    seen: list[str] = []

    async def another() -> None:
        for number in range(3):
            seen.append(f"other {number}")
            await asyncio.sleep(0)

    other = asyncio.create_task(another())
    async for item in in_turns(range(5), of_turn=2):
        seen += [str(item)]
    await other

    assert seen == ["0", "1", "other 0", "2", "3", "other 1", "4", "other 2"]


async def test_all_items_come_in_their_order() -> None:
    assert [item async for item in in_turns(range(100))] == list(range(100))
    assert not [item async for item in in_turns("")]


async def test_whoever_works_may_rest_for_longer() -> None:
    rests = 0

    async def rest() -> None:
        nonlocal rests
        rests += 1

    assert [item async for item in in_turns(range(5), of_turn=2, rest=rest)] == list(range(5))
    assert rests == 2


async def test_one_piece_comes_at_once_and_several_in_turns() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    try:
        assert [piece async for piece in pieces_in_turns([1, 2], of_turn=2)] == [[1, 2]]
        assert turns == 0
        assert [piece async for piece in pieces_in_turns([1, 2, 3], of_turn=2)] == [[1, 2], [3]]
        assert turns == 2
    finally:
        counting.cancel()
