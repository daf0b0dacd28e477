"""What people see while pods come and go: they order all the time, and afterwards all that they were told is true."""

import asyncio
from collections.abc import Callable

from tests.support.public_load import a_load, stop_load
from tests.support.public_shop import PublicShop


async def while_people_order(shop: PublicShop, *disturbances: Callable[[], None]) -> None:
    """Let buyers order without pause while each thing happens.

    Every answer they got has to be kept, and none of them may be told that they aren't who they are.
    """
    load = await a_load(shop, buyers=2)
    ordering = asyncio.create_task(load.run())
    await load.until_answered(3)
    for disturb in disturbances:
        await asyncio.to_thread(disturb)
        await load.until_answered(len(load.answered) + 3)
    await stop_load(ordering)

    assert load.unauthorized == []
    await load.assert_every_answer_was_kept()
