"""The whole of TradeFlow in one process, for trying out: the real services on embedded parts.

Only the parts differ from production: SQLite files instead of MySQL, a log in SQLite instead of Kafka, fakeredis in
place of Redis, keys made at the first start. The services speak real HTTP and real gRPC to each other.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.embedded.addresses import write_addresses
from services.embedded.data_folder import DataFolder
from services.embedded.options import Platform, PlatformOptions
from services.embedded.redis_server import serving_redis
from services.embedded.service_settings import plan_of
from services.gateway import wiring as gateway_wiring
from services.gateway.keys import ensure_keys
from services.ledger import wiring as ledger_wiring
from services.ledger.proof.key_folder import ensure_signing_keys
from services.orders import wiring as orders_wiring
from services.runtime.clock import SystemClock


@asynccontextmanager
async def platform(options: PlatformOptions) -> AsyncIterator[Platform]:
    """Run TradeFlow on a data folder until the end of the body.

    All that is committed stays in the folder, however the process ends; the next platform on it goes on from there.

    Raises:
        DataFolderInUseError: Another platform runs on the folder.
        BadDataFolderError: The folder can't be used.
        OSError: A port is taken.
    """
    clock = SystemClock()
    folder = DataFolder(options.data)
    folder.prepare()
    with folder.locked():
        folder.addresses_file.unlink(missing_ok=True)
        plan = plan_of(options, folder)
        ensure_keys(folder.keys, clock=clock)
        ensure_signing_keys(folder.ledger_keys, clock=clock)
        async with (
            serving_redis() as redis_url,
            ledger_wiring.running(plan.ledger(), clock=clock) as ledger,
            orders_wiring.running(plan.orders(ledger_grpc_target=ledger.grpc_target), clock=clock) as orders,
            gateway_wiring.running(
                plan.gateway(
                    redis_url=redis_url,
                    orders_url=orders.http_url,
                    ledger_url=ledger.http_url,
                    orders_grpc_target=orders.grpc_target,
                    ledger_grpc_target=ledger.grpc_target,
                ),
                clock=clock,
            ) as gateway,
        ):
            running = Platform(
                gateway_url=gateway.http_url,
                orders_url=orders.http_url,
                ledger_url=ledger.http_url,
                orders_grpc_target=orders.grpc_target,
                ledger_grpc_target=ledger.grpc_target,
                folder=folder,
                secrets=plan.secrets,
            )
            write_addresses(running)
            yield running
