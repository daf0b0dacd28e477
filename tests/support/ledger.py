"""A real ledger for flow tests: SQLite in a folder, real gRPC and HTTP, tokens of the test issuer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import grpc
import httpx
from google.protobuf.timestamp_pb2 import Timestamp

from services.ledger.queries.verify import VerifyReport, verify_book
from services.ledger.settings import LedgerSettings
from services.ledger.wiring import RunningLedger, running
from services.runtime.clock import Clock, SystemClock
from services.runtime.grpc_auth import call_metadata
from tests.support.issuer import Issuer, running_issuer
from tradeflow.common.v1.money_pb2 import Money
from tradeflow.common.v1.wallet_pb2 import Allocation, Balance
from tradeflow.ledger.v1 import commands_pb2, ledger_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages
from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub

if TYPE_CHECKING:
    from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceAsyncStub  # the type stubs' own name


@dataclass(frozen=True, kw_only=True)
class LedgerWorld:
    """A running ledger, its issuer, and a client of each of its doors."""

    ledger: RunningLedger
    settings: LedgerSettings
    issuer: Issuer
    clock: Clock
    stub: "LedgerServiceAsyncStub"
    http: httpx.AsyncClient

    def orders(self, user_id: UUID | None = None) -> tuple[tuple[str, str], ...]:
        """Call as the orders service, for a user if one is named."""
        return self.service("orders", user_id)

    def service(self, client_id: str, user_id: UUID | None = None) -> tuple[tuple[str, str], ...]:
        """Call as a service, for a user if one is named."""
        user_token = None if user_id is None else self.issuer.user_token(user_id)
        return call_metadata(self.issuer.service_token(client_id), user_token=user_token)

    def bearer(self, user_id: UUID, *roles: str) -> dict[str, str]:
        """Call HTTP as a user."""
        return {"Authorization": f"Bearer {self.issuer.user_token(user_id, roles or ('buyer',))}"}

    async def deposit(self, wallet_id: UUID, amount_minor: int, *, key: str = "", currency: str = "EUR") -> None:
        """Bring money in."""
        await self.stub.Deposit(
            messages.DepositRequest(command=a_deposit(wallet_id, amount_minor, key=key, currency=currency)),
            metadata=self.orders(),
        )

    async def reserve(
        self,
        wallet_id: UUID,
        amount_minor: int,
        *,
        hold_id: UUID | None = None,
        seconds: float = 900,
        commit: bool = False,
    ) -> UUID:
        """Hold money, and return the hold."""
        hold_id = hold_id or uuid4()
        command = a_reserve(
            wallet_id, amount_minor, hold_id=hold_id, expires_at=self.in_seconds(seconds), commit=commit
        )
        await self.stub.ReserveFunds(messages.ReserveFundsRequest(command=command), metadata=self.orders(wallet_id))
        return hold_id

    async def balance(self, wallet_id: UUID, currency: str = "EUR") -> Balance:
        """Read a balance."""
        request = messages.GetBalanceRequest(wallet_id=str(wallet_id), currency=currency)
        return (await self.stub.GetBalance(request, metadata=self.orders())).balance

    async def verify(self) -> VerifyReport:
        """Verify the book."""
        return await verify_book(self.ledger.book)

    def in_seconds(self, seconds: float) -> datetime:
        """Tell an instant from now on, on the ledger's clock."""
        return self.clock.now() + timedelta(seconds=seconds)


@asynccontextmanager
async def ledger_world(folder: Path, *, clock: Clock | None = None, **wished: object) -> AsyncIterator[LedgerWorld]:
    """Start a ledger on a folder; start it again on the same one to see what is durable. `wished` are settings."""
    clock = clock or SystemClock()
    async with running_issuer(clock=clock) as issuer:
        settings = ledger_settings(folder, issuer).model_copy(update=wished)
        async with (
            running(settings, clock=clock) as ledger,
            grpc.aio.insecure_channel(ledger.grpc_target) as channel,
            httpx.AsyncClient(base_url=ledger.http_url, trust_env=False) as http,
        ):
            yield LedgerWorld(
                ledger=ledger,
                settings=settings,
                issuer=issuer,
                clock=clock,
                stub=LedgerServiceStub(channel),
                http=http,
            )


def ledger_settings(folder: Path, issuer: Issuer) -> LedgerSettings:
    """Keep everything in a folder and take any free port."""
    return LedgerSettings(
        database_url=f"sqlite:///{folder}/ledger.db",
        broker_url=f"sqlite:///{folder}/broker.db",
        issuer=issuer.issuer,
        jwks_url=issuer.jwks_url,
        http_port=0,
        grpc_port=0,
    )


def eur(amount_minor: int) -> Money:
    return Money(amount_minor=amount_minor, currency="EUR")


def a_deposit(
    wallet_id: UUID, amount_minor: int, *, key: str = "", currency: str = "EUR", note: str = ""
) -> commands_pb2.Deposit:
    return commands_pb2.Deposit(
        idempotency_key=key or str(uuid4()),
        wallet_id=str(wallet_id),
        amount=Money(amount_minor=amount_minor, currency=currency),
        note=note,
    )


def a_reserve(
    wallet_id: UUID, amount_minor: int, *, hold_id: UUID, expires_at: datetime, key: str = "", commit: bool = False
) -> commands_pb2.ReserveFunds:
    return commands_pb2.ReserveFunds(
        idempotency_key=key or str(hold_id),
        hold_id=str(hold_id),
        wallet_id=str(wallet_id),
        amount=eur(amount_minor),
        expires_at=timestamp(expires_at),
        commit=commit,
    )


def a_capture(
    wallet_id: UUID,
    hold_id: UUID,
    sellers: dict[UUID, int],
    *,
    number: int = 1,
    basis_points: int = 250,
    final: bool = True,
    key: str = "",
) -> commands_pb2.CaptureFunds:
    return commands_pb2.CaptureFunds(
        idempotency_key=key or f"order:{hold_id}:capture:{number}",
        hold_id=str(hold_id),
        wallet_id=str(wallet_id),
        capture_number=number,
        amount=eur(sum(sellers.values())),
        allocations=[
            Allocation(seller_id=str(seller_id), gross_minor=gross, fee_basis_points=basis_points)
            for seller_id, gross in sellers.items()
        ],
        final=final,
    )


def a_void(wallet_id: UUID, hold_id: UUID, *, key: str = "") -> commands_pb2.VoidHold:
    return commands_pb2.VoidHold(
        idempotency_key=key or f"void:{hold_id}", hold_id=str(hold_id), wallet_id=str(wallet_id)
    )


def a_commit(wallet_id: UUID, hold_id: UUID, *, key: str = "") -> commands_pb2.CommitHold:
    return commands_pb2.CommitHold(
        idempotency_key=key or f"commit:{hold_id}", hold_id=str(hold_id), wallet_id=str(wallet_id)
    )


def a_refund(
    wallet_id: UUID, hold_id: UUID, sellers: dict[UUID, int], *, number: int = 1, key: str = ""
) -> commands_pb2.RefundCapture:
    return commands_pb2.RefundCapture(
        idempotency_key=key or str(uuid4()),
        hold_id=str(hold_id),
        wallet_id=str(wallet_id),
        capture_number=number,
        legs=[
            ledger_pb2.RefundLeg(seller_id=str(seller_id), gross_minor=gross) for seller_id, gross in sellers.items()
        ],
    )


def timestamp(instant: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(instant)
    return message
