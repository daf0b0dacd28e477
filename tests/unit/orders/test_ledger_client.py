"""The client against a real gRPC server whose answers a test chooses."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from services.orders.domain.hold import HoldState
from services.orders.domain.order import CaptureMode
from services.orders.outbound.ledger_client import LEDGER_SERVICE, SERVICE_CONFIG, GrpcLedger
from services.runtime.clock import SystemClock
from services.runtime.errors import (
    ForbiddenError,
    NotFoundError,
    RefusedError,
    TradeFlowError,
    UnauthenticatedError,
    UnavailableError,
)
from services.runtime.grpc_channel import open_channel
from services.runtime.grpc_server import serving_grpc
from services.runtime.service_tokens import ServiceTokens
from tests.support.issuer import running_issuer
from tests.support.orders_world import OrdersWorld
from tradeflow.common.v1.wallet_pb2 import HOLD_STATE_OPEN, Hold
from tradeflow.ledger.v1 import ledger_service_pb2 as messages
from tradeflow.ledger.v1.commands_pb2 import Receipt
from tradeflow.ledger.v1.ledger_service_pb2_grpc import (
    LedgerServiceServicer,
    add_LedgerServiceServicer_to_server,
)


@dataclass(kw_only=True)
class ScriptedLedger(LedgerServiceServicer):
    """Fails as `failures` say, one a call, then answers with an open hold."""

    failures: list[TradeFlowError] = field(default_factory=list)
    calls: list[tuple[Any, dict[str, str]]] = field(default_factory=list)

    async def ReserveFunds(self, request: messages.ReserveFundsRequest, context: Any) -> messages.ReserveFundsResponse:  # noqa: N802
        return messages.ReserveFundsResponse(receipt=Receipt(hold=self._hold(request, context)))

    async def GetHold(self, request: messages.GetHoldRequest, context: Any) -> messages.GetHoldResponse:  # noqa: N802
        return messages.GetHoldResponse(hold=self._hold(request, context))

    def _hold(self, request: Any, context: Any) -> Hold:
        self.calls.append((request, dict(context.invocation_metadata())))
        if self.failures:
            raise self.failures.pop(0)
        hold_id = request.hold_id if isinstance(request, messages.GetHoldRequest) else request.command.hold_id
        return Hold(hold_id=hold_id, state=HOLD_STATE_OPEN, held_minor=7, remaining_minor=7)


def a_ledger(*failures: TradeFlowError) -> ScriptedLedger:
    return ScriptedLedger(failures=list(failures))  # type: ignore[abstract]  # the other calls answer UNIMPLEMENTED


@asynccontextmanager
async def a_client(ledger: ScriptedLedger) -> AsyncIterator[GrpcLedger]:
    def register(server: grpc.aio.Server) -> None:
        add_LedgerServiceServicer_to_server(ledger, server)

    async with (
        running_issuer() as issuer,
        serving_grpc("127.0.0.1", 0, register=register, service_names=[LEDGER_SERVICE]) as target,
        open_channel(target, service_config=SERVICE_CONFIG) as channel,
    ):
        tokens = ServiceTokens(issuer.token_url, "orders", "secret", SystemClock())
        yield GrpcLedger(channel, tokens, deadline_seconds=5)
        await tokens.aclose()


async def test_reserving_says_who_calls_and_who_agrees(world: OrdersWorld) -> None:
    order = (await world.place(capture=CaptureMode.MANUAL)).order
    ledger = a_ledger()
    async with a_client(ledger) as client:
        hold = await client.reserve_funds(order, buyer_token="buyers", expires_at=order.hold_expires_at)

    ((request, metadata),) = ledger.calls
    command = request.command
    assert (hold.hold_id, hold.state, hold.held_minor) == (order.order_id, HoldState.OPEN, 7)
    assert command.idempotency_key == command.hold_id == str(order.order_id)
    assert (command.amount.amount_minor, command.amount.currency, command.commit) == (3_000, "EUR", False)
    assert command.expires_at.ToDatetime(tzinfo=order.created_at.tzinfo) == order.hold_expires_at
    assert metadata["x-user-authorization"] == "Bearer buyers"
    assert metadata["authorization"].startswith("Bearer ey")


async def test_automatic_capture_commits_at_once_without_an_expiry(world: OrdersWorld) -> None:
    order = (await world.place()).order
    ledger = a_ledger()
    async with a_client(ledger) as client:
        await client.reserve_funds(order, buyer_token="buyers", expires_at=order.hold_expires_at)

    command = ledger.calls[0][0].command
    assert command.commit
    assert not command.HasField("expires_at")


async def test_background_work_names_no_user(world: OrdersWorld) -> None:
    ledger = a_ledger()
    async with a_client(ledger) as client:
        await client.find_hold((await world.place()).order.order_id)

    assert "x-user-authorization" not in ledger.calls[0][1]


async def test_an_unknown_hold_is_none(world: OrdersWorld) -> None:
    ledger = a_ledger(NotFoundError("No.", reason="hold_not_found"))
    async with a_client(ledger) as client:
        assert await client.find_hold((await world.place()).order.order_id) is None


async def test_what_was_lost_is_repeated_by_grpc_itself(world: OrdersWorld) -> None:
    ledger = a_ledger(UnavailableError("Busy."), UnavailableError("Busy."))
    async with a_client(ledger) as client:
        assert await client.find_hold((await world.place()).order.order_id) is not None

    assert len(ledger.calls) == 3


async def test_a_refusal_keeps_its_class_and_reason(world: OrdersWorld) -> None:
    order = (await world.place()).order
    ledger = a_ledger(RefusedError("No.", reason="insufficient_funds", details={"a": "1"}))
    async with a_client(ledger) as client:
        with pytest.raises(RefusedError) as refused:
            await client.reserve_funds(order, buyer_token="buyers", expires_at=order.hold_expires_at)

    assert (refused.value.reason, refused.value.details) == ("insufficient_funds", {"a": "1"})


async def test_a_token_that_is_refused_is_replaced_once(world: OrdersWorld) -> None:
    ledger = a_ledger(UnauthenticatedError("Old key.", reason="token_forged"))
    async with a_client(ledger) as client:
        assert await client.find_hold((await world.place()).order.order_id) is not None

    first, second = (metadata["authorization"] for _, metadata in ledger.calls)
    assert first != second


@pytest.mark.parametrize("error_class", [UnauthenticatedError, ForbiddenError])
async def test_a_service_that_is_not_let_in_is_unavailable(
    world: OrdersWorld, error_class: type[TradeFlowError]
) -> None:
    ledger = a_ledger(error_class("No."), error_class("No."))
    async with a_client(ledger) as client:
        with pytest.raises(UnavailableError) as unavailable:
            await client.find_hold((await world.place()).order.order_id)

    assert unavailable.value.reason == "ledger_refuses_service"


async def test_a_buyers_token_that_ran_out_on_the_way_is_the_buyers_to_renew(world: OrdersWorld) -> None:
    order = (await world.place()).order
    ledger = a_ledger(*[UnauthenticatedError("Old.", reason="token_expired")] * 2)
    async with a_client(ledger) as client:
        with pytest.raises(UnauthenticatedError) as unauthenticated:
            await client.reserve_funds(order, buyer_token="buyers", expires_at=order.hold_expires_at)

    assert unauthenticated.value.reason == "token_expired"
