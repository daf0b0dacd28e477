"""Each call of the ledger's gRPC door, on a real ledger."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.ledger import LedgerWorld, a_capture, a_refund, ledger_world
from tradeflow.common.v1 import wallet_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LedgerWorld]:
    async with ledger_world(tmp_path) as running:
        yield running


async def test_money_goes_from_a_deposit_by_a_hold_to_the_seller_and_back(world: LedgerWorld) -> None:
    buyer, seller = uuid4(), uuid4()

    await world.deposit(buyer, 10_000)
    hold_id = await world.reserve(buyer, 4_000, commit=True)
    held = await world.balance(buyer)
    captured = await world.stub.CaptureFunds(
        messages.CaptureFundsRequest(command=a_capture(buyer, hold_id, {seller: 4_000})), metadata=world.orders()
    )
    await world.stub.RefundCapture(
        messages.RefundCaptureRequest(command=a_refund(buyer, hold_id, {seller: 1_000})), metadata=world.orders()
    )

    assert (held.posted_minor, held.pending_outgoing_minor, held.available_minor) == (10_000, 4_000, 6_000)
    assert captured.receipt.hold.state == wallet_pb2.HOLD_STATE_CAPTURED
    assert (await world.balance(buyer)).available_minor == 7_000
    assert (await world.balance(seller)).available_minor == 3_900 - 975
    report = await world.verify()
    assert report.problems == ()
    assert report.clean
