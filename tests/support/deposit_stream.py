"""Deposits at a steady rate, given to a ledger in batches: each is one event of one wallet."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc

from services.gateway.access_tokens import TokenIssuer
from services.runtime.grpc_auth import call_metadata
from services.runtime.ids import new_id
from tradeflow.common.v1.money_pb2 import Money
from tradeflow.ledger.v1 import commands_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages
from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub

BATCHES_PER_SECOND = 5

CALL_SECONDS_MAX = 60.0


@dataclass
class DepositStream:
    """Pays cents into wallets, some into the hot one."""

    channel: grpc.aio.Channel
    issuer: TokenIssuer
    wallets: Sequence[str]
    hot_wallet: str
    hot_share: float
    per_second: int
    deposits: Counter[str] = field(default_factory=Counter)
    total: int = 0

    async def run(self) -> None:
        """Go on until cancelled; a batch that is late is followed by the next at once."""
        loop = asyncio.get_running_loop()
        began_at_seconds, batches = loop.time(), 0
        while True:
            await self.pay([self._next() for _ in range(self.per_second // BATCHES_PER_SECOND)])
            batches += 1
            await asyncio.sleep(began_at_seconds + batches / BATCHES_PER_SECOND - loop.time())

    async def pay(self, wallets: Sequence[str]) -> None:
        """Pay a cent into each of these, all in one call."""
        commands = [
            commands_pb2.Command(
                deposit=commands_pb2.Deposit(
                    idempotency_key=str(new_id()),
                    wallet_id=wallet,
                    amount=Money(amount_minor=1, currency="EUR"),
                )
            )
            for wallet in wallets
        ]
        answer = await LedgerServiceStub(self.channel).ExecuteBatch(
            messages.ExecuteBatchRequest(commands=commands), metadata=self._metadata(), timeout=CALL_SECONDS_MAX
        )
        refused = [outcome for outcome in answer.outcomes if outcome.WhichOneof("outcome") != "receipt"]
        assert not refused, refused[0]
        self.deposits.update(wallets)
        self.total += len(wallets)

    async def last_sequence(self, wallet_id: str) -> int:
        """Ask the ledger how many events a wallet has."""
        request = messages.ListWalletEventsRequest(wallet_id=wallet_id, page_size=1)
        user = self.issuer.user_token(user_id=wallet_id, roles=["buyer"]).token
        answer = await LedgerServiceStub(self.channel).ListWalletEvents(
            request, metadata=self._metadata(user), timeout=CALL_SECONDS_MAX
        )
        return answer.last_sequence

    def _next(self) -> str:
        is_hot = random.random() < self.hot_share  # noqa: S311 - no secret
        return self.hot_wallet if is_hot else random.choice(self.wallets)  # noqa: S311 - no secret

    def _metadata(self, user_token: str | None = None) -> tuple[tuple[str, str], ...]:
        own = self.issuer.service_token(client_id="treasury", audience="ledger").token
        return call_metadata(own) if user_token is None else call_metadata(own, user_token=user_token)
