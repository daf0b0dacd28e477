from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.orders_world import OrdersWorld, orders_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[OrdersWorld]:
    async with orders_world(tmp_path) as made:
        yield made
