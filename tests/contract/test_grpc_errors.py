"""The error tree over a real in-process gRPC server: what the server raises is what the client gets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from structlog.testing import capture_logs

from services.runtime.errors import (
    ConflictError,
    ForbiddenError,
    InvalidArgumentError,
    KeyReusedError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    RejectedError,
    TooLargeError,
    TradeFlowError,
    UnauthenticatedError,
    UnavailableError,
)
from services.runtime.grpc_channel import open_channel
from services.runtime.grpc_errors import error_of, status_of, translating_errors
from services.runtime.grpc_server import serving_grpc
from tradeflow.ledger.v1 import ledger_service_pb2 as pb
from tradeflow.ledger.v1 import ledger_service_pb2_grpc as pb_grpc

SERVICE = "tradeflow.ledger.v1.LedgerService"


class InsufficientFundsError(RefusedError):
    """A domain's own error, which the client doesn't know."""

    default_reason = "insufficient_funds"


class Failing:
    """Fails as the test says; it has only the methods that are called here."""

    def __init__(self) -> None:
        self.fails_with: Exception | None = None

    def __getattr__(self, method: str) -> Callable[..., Awaitable[object]]:
        return self._unimplemented

    async def _unimplemented(self, _request: object, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")

    async def GetBalance(self, _request: pb.GetBalanceRequest, _context: Any) -> pb.GetBalanceResponse:  # noqa: N802
        if self.fails_with is not None:
            raise self.fails_with
        return pb.GetBalanceResponse()

    async def GetHold(self, _request: pb.GetHoldRequest, context: Any) -> None:  # noqa: N802 - gRPC's name
        await context.abort(grpc.StatusCode.DATA_LOSS, "chosen by the handler")


@asynccontextmanager
async def serving(servicer: Failing) -> AsyncIterator["pb_grpc.LedgerServiceAsyncStub"]:
    def register(server: grpc.aio.Server) -> None:
        partly_there: Any = servicer
        pb_grpc.add_LedgerServiceServicer_to_server(partly_there, server)

    async with (
        serving_grpc("127.0.0.1", 0, register=register, service_names=[SERVICE]) as target,
        open_channel(target) as channel,
    ):
        yield pb_grpc.LedgerServiceStub(channel)


async def raised_by(call: Callable[[], Awaitable[object]]) -> TradeFlowError:
    with pytest.raises(TradeFlowError) as raised, translating_errors():
        await call()
    return raised.value


async def sent_and_received(error: Exception) -> TradeFlowError:
    servicer = Failing()
    servicer.fails_with = error
    async with serving(servicer) as stub:
        return await raised_by(lambda: stub.GetBalance(pb.GetBalanceRequest(), timeout=5))


@pytest.mark.parametrize(
    "error_class",
    [
        InvalidArgumentError,
        UnauthenticatedError,
        ForbiddenError,
        NotFoundError,
        ConflictError,
        KeyReusedError,
        RefusedError,
        TooLargeError,
        UnavailableError,
    ],
)
async def test_each_class_of_the_tree_arrives_as_it_was_raised(error_class: type[TradeFlowError]) -> None:
    sent = error_class("Ännchen, try this.", reason="some_reason", details={"order_id": "7", "état": "é"})

    received = await sent_and_received(sent)

    assert type(received) is error_class
    assert received.message == sent.message
    assert received.reason == "some_reason"
    assert received.details == sent.details


async def test_a_status_names_the_field_to_blame_and_only_where_one_is() -> None:
    blamed = InvalidArgumentError("wallet_id must be a UUID.", reason="id_malformed", details={"field": "wallet_id"})
    state = RefusedError("No.", reason="insufficient_funds", details={"field": "amount"})

    violations = [violation for error in (blamed, state) for violation in violations_of(status_of(error))]

    assert [(violation.field, violation.description) for violation in violations] == [
        ("wallet_id", "wallet_id must be a UUID.")
    ]


def violations_of(status: Status) -> list[BadRequest.FieldViolation]:
    found: list[BadRequest.FieldViolation] = []
    for detail in status.details:
        request = BadRequest()
        if detail.Unpack(request):
            found += request.field_violations
    return found


async def test_a_domains_error_arrives_as_its_category_with_its_reason() -> None:
    received = await sent_and_received(InsufficientFundsError("There is too little money."))

    assert type(received) is RefusedError
    assert received.reason == "insufficient_funds"


async def test_an_error_of_no_category_is_still_a_refusal() -> None:
    received = await sent_and_received(RejectedError("No.", reason="because"))

    assert isinstance(received, RejectedError)
    assert received.reason == "because"


@pytest.mark.parametrize("error_class", [UnavailableError, RateLimitedError])
async def test_when_to_come_back_arrives(error_class: type[UnavailableError] | type[RateLimitedError]) -> None:
    received = await sent_and_received(error_class("Later.", retry_after_seconds=2.5))

    assert isinstance(received, UnavailableError)
    assert received.retry_after_seconds == 2.5
    assert received.reason == error_class.default_reason


async def test_a_bug_is_logged_and_not_shown() -> None:
    with capture_logs() as logs:
        received = await sent_and_received(ZeroDivisionError("hunter2"))

    assert isinstance(received, UnavailableError)
    assert received.reason == "internal"
    assert "hunter2" not in received.message
    failed = [log for log in logs if log["event"] == "grpc_call_failed"]
    assert [log["method"] for log in failed] == [f"/{SERVICE}/GetBalance"]


async def test_an_error_of_the_base_class_alone_is_a_bug_to_the_caller() -> None:
    received = await sent_and_received(TradeFlowError("What is this?"))

    assert isinstance(received, UnavailableError)
    assert received.reason == "internal"


async def test_a_long_message_still_arrives() -> None:
    received = await sent_and_received(RefusedError("x" * 100_000))

    assert type(received) is RefusedError
    assert received.message.startswith("xxx")


async def test_a_status_that_the_handler_chose_stays() -> None:
    async with serving(Failing()) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.GetHold(pb.GetHoldRequest(), timeout=5)

    assert raised.value.code() is grpc.StatusCode.DATA_LOSS
    assert raised.value.details() == "chosen by the handler"


async def test_a_method_that_does_not_exist_is_internal_to_the_caller() -> None:
    async with serving(Failing()) as stub:
        received = await raised_by(lambda: stub.Deposit(pb.DepositRequest(), timeout=5))

    assert isinstance(received, UnavailableError)
    assert received.details == {"code": "UNIMPLEMENTED"}


async def test_a_server_that_is_away_is_unavailable() -> None:
    async with open_channel("127.0.0.1:1") as channel:
        stub: pb_grpc.LedgerServiceAsyncStub = pb_grpc.LedgerServiceStub(channel)
        received = await raised_by(lambda: stub.GetBalance(pb.GetBalanceRequest(), timeout=5))

    assert isinstance(received, UnavailableError)
    assert received.reason == "unavailable"


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    ],
)
def test_what_the_network_did_is_unavailable(code: grpc.StatusCode) -> None:
    received = error_of(rpc_error(code))

    assert isinstance(received, UnavailableError)
    assert received.reason == "unavailable"
    assert received.retry_after_seconds > 0


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_code_becomes_an_error_of_the_tree(code: grpc.StatusCode) -> None:
    assert isinstance(error_of(rpc_error(code)), TradeFlowError)


@pytest.mark.parametrize("trailer", [b"", b"\xff\xff", b"not a status"])
def test_a_rich_status_that_is_none_is_left_alone(trailer: bytes) -> None:
    received = error_of(rpc_error(grpc.StatusCode.NOT_FOUND, ("grpc-status-details-bin", trailer)))

    assert type(received) is NotFoundError
    assert received.reason == "not_found"


def rpc_error(code: grpc.StatusCode, *trailers: tuple[str, bytes]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), "what happened")
