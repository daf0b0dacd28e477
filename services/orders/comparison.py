"""The comparison with the ledger from outside of any service: on an orders database, by the ledger's own answers."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.asset_settings import AssetExponents
from services.money import register_assets
from services.orders.domain.discrepancy import Discrepancy
from services.orders.ledger_wiring import open_ledger
from services.orders.outbound.recovery_reads import SqlRecoveryReads
from services.orders.outbound.store import SqlStore
from services.orders.ports import Ledger
from services.orders.settings import Seconds
from services.orders.use_cases.compare_orders import compare_orders
from services.orders.use_cases.reconcile_orders import Reconciled, at_rest, reconcile
from services.runtime.clock import Clock, SystemClock
from services.runtime.database_opening import open_database
from services.runtime.grpc_tls import GrpcClientSettings

ORDERS_A_STEP: Final = 500
"""Orders read at once."""


class ComparisonSettings(GrpcClientSettings):
    """What a comparison needs to know: a part of the service's own settings, by the same names."""

    model_config = SettingsConfigDict(env_prefix="TRADEFLOW_ORDERS_")

    database_url: str
    """The orders database: sqlite:////data/orders.db, or mysql://user:password@host:3306/orders"""

    ledger_grpc_target: str
    """Where the ledger listens, such as ledger:9090"""

    token_url: str
    """Where the service gets its own tokens, such as http://gateway:8080/oauth/token"""

    client_secret: SecretStr
    """What proves to the token issuer who this service is."""

    client_id: str = "orders"
    """The name of this service at the token issuer."""

    ledger_deadline_seconds: Seconds = 5.0
    """How long one call on the ledger may take."""

    patience_seconds: Seconds = 10.0
    """How long a step of an order may take before the service looks after it."""

    assets: AssetExponents = Field(default_factory=dict)
    """Assets beside ISO 4217's; the same in every service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Orders, and the ledger to compare them with."""

    store: SqlStore
    reads: SqlRecoveryReads
    ledger: Ledger
    clock: Clock

    async def run(self, *, heals: bool, told: Callable[[int, int], None]) -> AsyncIterator[Reconciled]:
        """Compare all orders, a page at a time; `told` hears how many of how many were read.

        Without `heals` nothing is written.

        Raises:
            UnavailableError: The ledger or the database is away.
        """
        total, done, last = await self.reads.orders_count(), 0, UUID(int=0)
        while page := await self.reads.sums(after=last, orders_max=ORDERS_A_STEP):
            if heals:
                yield await reconcile(page, store=self.store, ledger=self.ledger, clock=self.clock)
            else:
                resting = at_rest(page, self.clock.now())
                found = await compare_orders(resting, ledger=self.ledger, now=self.clock.now())
                unmoved = [one for one in found if await self._has_not_moved(one)]
                yield Reconciled(compared=len(resting), found=tuple(unmoved), healed=())
            done, last = done + len(page), page[-1].order_id
            told(done, max(done, total))

    async def _has_not_moved(self, found: Discrepancy) -> bool:
        """Tell whether the order is as it was compared: its hold was read later."""
        now = await self.reads.sums(after=UUID(int=found.order_id.int - 1), orders_max=1)
        return [(one.order_id, one.version) for one in now] == [(found.order_id, found.order_version)]


@asynccontextmanager
async def opened_comparison(settings: ComparisonSettings) -> AsyncIterator[Comparison]:
    """Open what a comparison needs while the body runs.

    Raises:
        InvalidArgumentError: The database's URL isn't supported.
    """
    register_assets(settings.assets)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        database = open_database(settings.database_url)
        stack.push_async_callback(database.close)
        yield Comparison(
            store=SqlStore(database, clock=clock, patience=timedelta(seconds=settings.patience_seconds)),
            reads=SqlRecoveryReads(database),
            ledger=await open_ledger(settings, stack, clock),
            clock=clock,
        )
