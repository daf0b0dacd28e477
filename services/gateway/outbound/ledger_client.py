"""A wallet's events, asked of the ledger on behalf of the wallet's owner."""

import grpc

from services.gateway.access_tokens import OwnServiceTokens
from services.gateway.ports import LedgerPage, WalletNotice
from services.runtime.grpc_auth import call_metadata
from services.runtime.grpc_errors import translating_errors
from services.runtime.jwt import Principal
from tradeflow.ledger.v1.ledger_service_pb2 import ListWalletEventsRequest
from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub

AUDIENCE = "ledger"
"""For whom the gateway's tokens are, here."""


class LedgerClient:
    """Fits `WalletEvents`; every call has a deadline."""

    def __init__(self, channel: grpc.aio.Channel, tokens: OwnServiceTokens, *, call_seconds_max: float) -> None:
        """Call over `channel`."""
        self._stub = LedgerServiceStub(channel)
        self._tokens = tokens
        self._call_seconds_max = call_seconds_max

    async def list_wallet_events(self, owner: Principal, *, after_sequence: int, page_size: int) -> LedgerPage:
        """Return the owner's events after a sequence.

        Raises:
            UnavailableError: The ledger can't be reached.
        """
        request = ListWalletEventsRequest(wallet_id=owner.subject, after_sequence=after_sequence, page_size=page_size)
        metadata = call_metadata(await self._tokens.token_for(AUDIENCE), user_token=owner.token)
        with translating_errors():
            answer = await self._stub.ListWalletEvents(request, metadata=metadata, timeout=self._call_seconds_max)
        return LedgerPage(
            last_sequence=answer.last_sequence,
            reload_required=answer.reload_required,
            notices=tuple(
                WalletNotice(
                    wallet_id=event.wallet_id,
                    sequence=event.sequence,
                    recorded_at_micros=event.recorded_at.ToMicroseconds(),
                    payload=event.SerializeToString(),
                )
                for event in answer.events
            ),
        )
