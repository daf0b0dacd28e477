import asyncio

from services.runtime.turns import in_turns


async def test_others_get_their_turn_after_every_few_items() -> None:
    seen: list[str] = []

    async def another() -> None:
        for number in range(3):
            seen.append(f"other {number}")
            await asyncio.sleep(0)

    other = asyncio.create_task(another())
    async for item in in_turns(range(5), of_turn=2):
        seen.append(str(item))
    await other

    assert seen == ["0", "1", "other 0", "2", "3", "other 1", "4", "other 2"]


async def test_all_items_come_in_their_order() -> None:
    assert [item async for item in in_turns(range(100))] == list(range(100))
    assert [item async for item in in_turns([])] == []
