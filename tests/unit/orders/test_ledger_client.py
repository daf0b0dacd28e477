"""The client against a real gRPC server whose answers a test chooses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID, uuid4

import grpc
import pytest

from services.orders.domain.hold import HoldState
from services.orders.domain.order import CaptureMode
from services.orders.outbound.ledger_calls import LEDGER_SERVICE, SERVICE_CONFIG
from services.orders.outbound.ledger_client import HOLDS_OF_CALL_MAX, GrpcLedger
from services.orders.outbound.ledger_guards import LedgerGuards
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
from services.runtime.grpc_errors import code_of
from services.runtime.grpc_server import serving_grpc
from services.runtime.service_tokens import ServiceTokens
from services.runtime.tracing import continued_trace
from tests.support.issuer import running_issuer
from tests.support.orders_world import OrdersWorld
from tradeflow.common.v1.problem_pb2 import Problem
from tradeflow.common.v1.wallet_pb2 import HOLD_STATE_OPEN, Hold
from tradeflow.common.v1.wallet_pb2 import HoldState as HoldStateMessage
from tradeflow.ledger.v1 import ledger_service_pb2 as messages
from tradeflow.ledger.v1.commands_pb2 import Command, Outcome, Receipt
from tradeflow.ledger.v1.ledger_service_pb2_grpc import (
    LedgerServiceServicer,
    add_LedgerServiceServicer_to_server,
)

SELLER = str(uuid4())


@dataclass(kw_only=True)
class ScriptedLedger(LedgerServiceServicer):
    """Fails as `failures` say, one a call, and refuses as `refusals` say, one a command; otherwise holds are open.

    Or in a `hold_state` that orders doesn't know yet.
    """

    hold_state: "HoldStateMessage.ValueType" = HOLD_STATE_OPEN
    refunded_by: list[tuple[str, int]] = field(default_factory=list)
    failures: list[TradeFlowError] = field(default_factory=list)
    refusals: list[TradeFlowError] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    calls: list[tuple[Any, dict[str, str]]] = field(default_factory=list)

    async def ExecuteBatch(self, request: messages.ExecuteBatchRequest, context: Any) -> messages.ExecuteBatchResponse:  # noqa: N802
        self._called(request, context)
        return messages.ExecuteBatchResponse(outcomes=[self._outcome(command) for command in request.commands])

    async def GetHold(self, request: messages.GetHoldRequest, context: Any) -> messages.GetHoldResponse:  # noqa: N802
        self._called(request, context)
        shares = [
            messages.SellerShare(seller_id=seller_id, gross_minor=500, gross_refunded_minor=minor)
            for seller_id, minor in self.refunded_by
        ]
        return messages.GetHoldResponse(hold=self._hold(request.hold_id), shares=shares)

    async def GetHolds(self, request: messages.GetHoldsRequest, context: Any) -> messages.GetHoldsResponse:  # noqa: N802
        self._called(request, context)
        holds = [
            messages.HoldWithShares(
                hold=self._hold(hold_id), shares=[messages.SellerShare(seller_id=SELLER, gross_refunded_minor=3)]
            )
            for hold_id in request.hold_ids
            if hold_id not in self.unknown
        ]
        return messages.GetHoldsResponse(holds=holds)

    def _called(self, request: Any, context: Any) -> None:
        self.calls.append((request, dict(context.invocation_metadata())))
        if self.failures:
            raise self.failures.pop(0)

    def _outcome(self, command: Command) -> Outcome:
        if not self.refusals:
            return Outcome(
                receipt=Receipt(hold=self._hold(getattr(command, str(command.WhichOneof("command"))).hold_id))
            )
        error = self.refusals.pop(0)
        return Outcome(
            problem=Problem(
                reason=error.reason,
                message=error.message,
                details=error.details,
                retryable=isinstance(error, UnavailableError),
                code=code_of(error).value[0],
            )
        )

    def _hold(self, hold_id: str) -> Hold:
        return Hold(hold_id=hold_id, state=self.hold_state, held_minor=7, remaining_minor=7)


def a_ledger(*failures: TradeFlowError, refusals: list[TradeFlowError] | None = None) -> ScriptedLedger:
    return ScriptedLedger(failures=list(failures), refusals=refusals or [])  # type: ignore[abstract]  # the other calls answer UNIMPLEMENTED


@asynccontextmanager
async def a_client(
    ledger: ScriptedLedger, guards: LedgerGuards | None = None, *, deadline_seconds: float = 5
) -> AsyncIterator[GrpcLedger]:
    def register(server: grpc.aio.Server) -> None:
        add_LedgerServiceServicer_to_server(ledger, server)

    async with (
        running_issuer() as issuer,
        serving_grpc("127.0.0.1", 0, register=register, service_names=[LEDGER_SERVICE]) as target,
        open_channel(target, service_config=SERVICE_CONFIG) as channel,
    ):
        tokens = ServiceTokens(issuer.token_url, "orders", "secret", SystemClock())
        yield GrpcLedger(channel, tokens, deadline_seconds=deadline_seconds, guards=guards)
        await tokens.aclose()


async def test_an_answer_that_a_newer_ledger_gives_is_no_refusal(world: OrdersWorld) -> None:
    order = (await world.place()).order
    ledger = a_ledger()
    ledger.hold_state = cast("HoldStateMessage.ValueType", 99)
    async with a_client(ledger) as client:
        voided = client.void_hold(order.order_id, buyer_id=order.buyer_id)
        for call in (client.commit_hold(order), voided, client.find_hold(order.order_id)):
            with pytest.raises(UnavailableError) as unavailable:
                await call
            assert unavailable.value.reason == "malformed_hold"


async def test_reserving_says_who_calls_and_who_agrees(world: OrdersWorld) -> None:
    order = (await world.place(capture=CaptureMode.MANUAL)).order
    ledger = a_ledger()
    async with a_client(ledger) as client:
        hold = await client.reserve_funds(order, buyer_token="buyers", expires_at=order.hold_expires_at)

    ((request, metadata),) = ledger.calls
    (item,) = request.commands
    command = item.reserve_funds
    assert (hold.hold_id, hold.state, hold.held_minor) == (order.order_id, HoldState.OPEN, 7)
    assert command.idempotency_key == command.hold_id == str(order.order_id)
    assert (command.amount.amount_minor, command.amount.currency, command.commit) == (3_000, "EUR", False)
    assert command.expires_at.ToDatetime(tzinfo=order.created_at.tzinfo) == order.hold_expires_at
    assert item.user_token == "buyers"
    assert metadata["authorization"].startswith("Bearer ey")


async def test_automatic_capture_commits_at_once_without_an_expiry(world: OrdersWorld) -> None:
    order = (await world.place()).order
    ledger = a_ledger()
    async with a_client(ledger) as client:
        await client.reserve_funds(order, buyer_token="buyers", expires_at=order.hold_expires_at)

    command = ledger.calls[0][0].commands[0].reserve_funds
    assert command.commit
    assert not command.HasField("expires_at")


async def test_background_work_names_no_user(world: OrdersWorld) -> None:
    ledger = a_ledger()
    order = (await world.place()).order
    async with a_client(ledger) as client:
        await client.void_hold(order.order_id, buyer_id=order.buyer_id)

    ((request, metadata),) = ledger.calls
    assert request.commands[0].user_token == ""
    assert "x-user-authorization" not in metadata


async def test_an_unknown_hold_is_none(world: OrdersWorld) -> None:
    ledger = a_ledger(NotFoundError("No.", reason="hold_not_found"))
    async with a_client(ledger) as client:
        assert await client.find_hold((await world.place()).order.order_id) is None


async def test_a_hold_names_who_gave_back_how_much_where_the_ledger_tells_it(world: OrdersWorld) -> None:
    order_id, seller_id = (await world.place()).order.order_id, world.seller.user_id
    ledger = a_ledger()
    async with a_client(ledger) as client:
        older = await client.find_hold(order_id)
        ledger.refunded_by = [(str(seller_id), 7)]
        hold = await client.find_hold(order_id)
        ledger.refunded_by = [("nobody", 7)]
        with pytest.raises(UnavailableError) as unavailable:
            await client.find_hold(order_id)

    assert older is not None
    assert hold is not None
    assert (older.refunded_by, hold.refunded_by) == (None, {seller_id: 7})
    assert unavailable.value.reason == "malformed_hold"


async def test_many_holds_come_in_few_calls_by_their_orders_ids() -> None:
    order_ids = [uuid4() for _ in range(HOLDS_OF_CALL_MAX + 2)]
    ledger = a_ledger()
    ledger.unknown = {str(order_ids[0]), str(order_ids[-1])}
    async with a_client(ledger) as client:
        holds = await client.find_holds(order_ids)
        nothing = await client.find_holds([])

    assert list(holds) == order_ids[1:-1]
    assert all(hold.hold_id == order_id for order_id, hold in holds.items())
    assert holds[order_ids[1]].refunded_by == {UUID(SELLER): 3}
    assert nothing == {}
    assert [len(request.hold_ids) for request, _ in ledger.calls] == [HOLDS_OF_CALL_MAX, 2]


async def test_what_was_lost_is_repeated_by_grpc_itself(world: OrdersWorld) -> None:
    ledger = a_ledger(UnavailableError("Busy."), UnavailableError("Busy."))
    async with a_client(ledger) as client:
        assert await client.find_hold((await world.place()).order.order_id) is not None

    assert len(ledger.calls) == 3


async def test_a_refusal_keeps_its_class_and_reason(world: OrdersWorld) -> None:
    order = (await world.place()).order
    ledger = a_ledger(refusals=[RefusedError("No.", reason="insufficient_funds", details={"a": "1"})])
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
    ledger = a_ledger(refusals=[UnauthenticatedError("Old.", reason="token_expired")])
    async with a_client(ledger) as client:
        with pytest.raises(UnauthenticatedError) as unauthenticated:
            await client.reserve_funds(order, buyer_token="buyers", expires_at=order.hold_expires_at)

    assert unauthenticated.value.reason == "token_expired"


async def test_commands_of_concurrent_requests_go_in_one_call_each_with_its_own_trace_and_refusal(
    world: OrdersWorld,
) -> None:
    orders = [(await world.place()).order for _ in range(3)]
    ledger = a_ledger(refusals=[RefusedError("No.", reason="insufficient_funds")])
    async with a_client(ledger) as client:
        await client.find_hold(orders[0].order_id)  # by now there is a token

        async def reserve(number: int) -> object:
            with continued_trace(f"00-{number:032x}-{number:016x}-01"):
                return await client.reserve_funds(
                    orders[number - 1], buyer_token=f"buyer-{number}", expires_at=orders[0].hold_expires_at
                )

        outcomes = await asyncio.gather(*map(reserve, (1, 2, 3)), return_exceptions=True)

    ((request, _),) = ledger.calls[1:]
    assert [item.user_token for item in request.commands] == ["buyer-1", "buyer-2", "buyer-3"]
    assert [int(item.traceparent.split("-")[1], 16) for item in request.commands] == [1, 2, 3]
    assert isinstance(outcomes[0], RefusedError)
    assert [getattr(outcome, "hold_id", None) for outcome in outcomes[1:]] == [order.order_id for order in orders[1:]]


async def test_a_command_that_the_ledger_had_no_time_for_is_sent_again(world: OrdersWorld) -> None:
    order = (await world.place()).order
    ledger = a_ledger(refusals=[UnavailableError("Busy.", reason="database_busy")] * 2)
    async with a_client(ledger) as client:
        hold = await client.commit_hold(order)

    assert hold.hold_id == order.order_id
    assert len(ledger.calls) == 3


async def test_a_command_that_the_ledger_never_has_time_for_is_given_up(world: OrdersWorld) -> None:
    order = (await world.place()).order
    ledger = a_ledger(refusals=[UnavailableError("Busy.", reason="database_busy")] * 9)
    async with a_client(ledger) as client:
        with pytest.raises(UnavailableError) as unavailable:
            await client.commit_hold(order)

    assert unavailable.value.reason == "database_busy"
    assert len(ledger.calls) == 4


async def test_a_command_that_this_service_may_not_send_is_unavailable(world: OrdersWorld) -> None:
    order = (await world.place()).order
    ledger = a_ledger(refusals=[ForbiddenError("No.", reason="command_not_allowed")])
    async with a_client(ledger) as client:
        with pytest.raises(UnavailableError) as unavailable:
            await client.commit_hold(order)

    assert unavailable.value.reason == "ledger_refuses_service"


async def test_a_call_that_is_lost_is_lost_for_all_its_commands(world: OrdersWorld) -> None:
    orders = [(await world.place()).order for _ in range(2)]
    ledger = a_ledger(*[UnavailableError("Away.", reason="ledger_stopping")] * 4)
    async with a_client(ledger) as client:
        outcomes = await asyncio.gather(*map(client.commit_hold, orders), return_exceptions=True)

    assert [getattr(outcome, "reason", None) for outcome in outcomes] == ["ledger_stopping"] * 2


async def test_more_requests_than_may_wait_are_told_to_come_back(world: OrdersWorld) -> None:
    orders = [(await world.place()).order for _ in range(2)]
    async with a_client(a_ledger(), LedgerGuards.make(calls_at_once_max=1)) as client:
        outcomes = await asyncio.gather(*map(client.commit_hold, orders), return_exceptions=True)

    assert [getattr(outcome, "reason", "done") for outcome in outcomes] == ["done", "ledger_busy"]
