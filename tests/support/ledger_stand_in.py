"""A LedgerService for the gateway's tests: a real gRPC server that remembers wallet events and nothing else."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc

from services.runtime.clock import EPOCH
from services.runtime.errors import ForbiddenError, UnavailableError
from services.runtime.grpc_auth import service_of, user_of
from services.runtime.jwt import TokenVerifier
from tradeflow.common.v1.money_pb2 import Money
from tradeflow.common.v1.wallet_pb2 import Balance
from tradeflow.events.v1.wallet_event_pb2 import FundsDeposited, WalletEvent
from tradeflow.ledger.v1.ledger_service_pb2 import ListWalletEventsRequest, ListWalletEventsResponse

SERVICE_NAME = "tradeflow.ledger.v1.LedgerService"

Context = grpc.aio.ServicerContext[Any, Any]


def a_wallet_event(
    wallet_id: str, sequence: int, *, amount_minor: int = 100, recorded_at: datetime = EPOCH
) -> WalletEvent:
    """Build a deposit's event."""
    event = WalletEvent(
        event_id=str(uuid4()),
        wallet_id=wallet_id,
        sequence=sequence,
        journal_sequence=1000 + sequence,
        balance=Balance(
            wallet_id=wallet_id,
            currency="EUR",
            posted_minor=amount_minor * sequence,
            available_minor=amount_minor * sequence,
            account_sequence=sequence,
        ),
        funds_deposited=FundsDeposited(amount=Money(amount_minor=amount_minor, currency="EUR")),
    )
    event.recorded_at.FromDatetime(recorded_at)
    return event


class LedgerStandIn:
    """Keeps events; a test says from which sequence on, and whether it answers."""

    def __init__(self, verifier: TokenVerifier) -> None:
        """Let in whose tokens `verifier` accepts, for the user whose token they carry."""
        self._verifier = verifier
        self.events: defaultdict[str, list[WalletEvent]] = defaultdict(list)
        self.kept_from: dict[str, int] = {}
        """The oldest sequence that is still kept, by wallet."""
        self.calls: list[ListWalletEventsRequest] = []
        self.recorded_at = EPOCH
        """When what happens next is recorded."""
        self.is_down = False
        self.refused_calls = 0
        """How many came while it was down."""

    def record(self, wallet_id: str, count: int = 1) -> list[WalletEvent]:
        """Remember new events of a wallet."""
        first = len(self.events[wallet_id]) + 1
        news = [
            a_wallet_event(wallet_id, sequence, recorded_at=self.recorded_at)
            for sequence in range(first, first + count)
        ]
        self.events[wallet_id] += news
        return news

    def restore(self, wallet_id: str, sequence: int) -> None:
        """Go back to where a wallet was at this sequence; time goes on."""
        del self.events[wallet_id][sequence:]
        self.recorded_at += timedelta(hours=1)

    async def list_wallet_events(self, request: ListWalletEventsRequest, context: Context) -> ListWalletEventsResponse:
        if self.is_down:
            self.refused_calls += 1
            raise UnavailableError("Away.")
        service = await service_of(context, self._verifier)
        user = await user_of(context, self._verifier)
        if service.subject != "gateway" or user is None or user.subject != request.wallet_id:
            raise ForbiddenError("Only the gateway, for the wallet's owner.")
        self.calls.append(request)
        events = self.events[request.wallet_id]
        lost = request.after_sequence + 1 < self.kept_from.get(request.wallet_id, 1)
        page = events[request.after_sequence : request.after_sequence + (request.page_size or 100)]
        return ListWalletEventsResponse(
            events=[] if lost else page,
            last_sequence=len(events),
            reload_required=lost or request.after_sequence > len(events),
        )

    def register(self, server: grpc.aio.Server) -> None:
        """Add the one method that the gateway calls."""
        method = grpc.unary_unary_rpc_method_handler(
            self.list_wallet_events,
            request_deserializer=ListWalletEventsRequest.FromString,
            response_serializer=ListWalletEventsResponse.SerializeToString,
        )
        handler = grpc.method_handlers_generic_handler(SERVICE_NAME, {"ListWalletEvents": method})
        server.add_generic_rpc_handlers((handler,))
