"""How the ledger is reached, by the service and by who compares its orders from outside: own tokens, two channels."""

from contextlib import AsyncExitStack, aclosing
from typing import Protocol

import grpc
from pydantic import SecretStr

from services.orders.outbound.ledger_calls import LEDGER_SERVICE, SERVICE_CONFIG
from services.orders.outbound.ledger_client import GrpcLedger
from services.orders.outbound.ledger_guards import LedgerGuards
from services.runtime.clock import Clock
from services.runtime.grpc_channel import open_channel
from services.runtime.grpc_leader import to_leader
from services.runtime.service_tokens import ServiceTokens


class LedgerAccess(Protocol):
    """The settings that say where the ledger is, and who calls it."""

    ledger_grpc_target: str
    ledger_deadline_seconds: float
    token_url: str
    client_id: str
    client_secret: SecretStr

    def channel_credentials(self) -> grpc.ChannelCredentials | None:
        """Make a caller's credentials, or None where calls go plainly."""
        ...


async def open_ledger(
    access: LedgerAccess, stack: AsyncExitStack, clock: Clock, *, guards: LedgerGuards | None = None
) -> GrpcLedger:
    """Open what talks with the ledger; the stack closes it, the channels before the tokens."""
    secret = access.client_secret.get_secret_value()
    tokens = await stack.enter_async_context(aclosing(ServiceTokens(access.token_url, access.client_id, secret, clock)))
    channel, leading = [
        open_channel(access.ledger_grpc_target, service_config=config, credentials=access.channel_credentials())
        for config in (SERVICE_CONFIG, to_leader(LEDGER_SERVICE))
    ]
    stack.push_async_callback(channel.close)
    stack.push_async_callback(leading.close)
    return GrpcLedger(channel, tokens, deadline_seconds=access.ledger_deadline_seconds, leading=leading, guards=guards)
