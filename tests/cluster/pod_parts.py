"""Real servers of this machine that pods reach: on the cluster's own address, beside their usual one."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.parts.cluster_network import NODE_ADDRESS
from tests.parts.kafka import CONTROLLER_BELOW
from tests.parts.opening import open_server
from tests.parts.part import Place
from tests.parts.server import Server
from tests.parts.sql_servers import administrator, sql_flags


@dataclass(frozen=True, slots=True, kw_only=True)
class PodParts:
    """Where pods find what they stand on, and how this process reaches the same."""

    ledger_url: str
    orders_url: str
    broker_url: str
    redis_url: str


@contextmanager
def pod_parts(folder: Path) -> Iterator[PodParts]:
    """Start a MySQL, a Kafka and a Redis, and end them afterwards."""
    with ExitStack() as stack:
        bind = f"--bind-address=127.0.0.1,{NODE_ADDRESS}"
        mysql = _started(stack, "mysql", folder / "mysql", (*sql_flags(), bind))
        kafka = _started(stack, "kafka", folder / "kafka", _kafka_flags(folder / "kafka"))
        redis = _started(
            stack, "redis", folder / "redis", ("--bind", "127.0.0.1", NODE_ADDRESS, "--protected-mode", "no")
        )
        yield PodParts(
            ledger_url=_database(mysql.url, "ledger"),
            orders_url=_database(mysql.url, "orders"),
            broker_url=f"kafka://{NODE_ADDRESS}:{urlsplit(kafka.url).port}",
            redis_url=f"redis://{NODE_ADDRESS}:{urlsplit(redis.url).port}/0",
        )


def _started(stack: ExitStack, part: str, folder: Path, flags: tuple[str, ...]) -> Server:
    server = open_server(part, folder, flags)
    stack.callback(server.wipe)
    server.start()
    return server


def _kafka_flags(folder: Path) -> tuple[str, ...]:
    """Let the broker listen everywhere and name the cluster's address, which clients are sent to."""
    place = Place.of(folder)
    return (
        f"listeners=CLIENTS://0.0.0.0:{place.port},CONTROLLER://{place.host}:{place.port - CONTROLLER_BELOW}",
        f"advertised.listeners=CLIENTS://{NODE_ADDRESS}:{place.port}",
    )


def _database(url: str, name: str) -> str:
    """Make a database and a user that comes from anywhere; return the URL as pods have it."""
    with closing(administrator(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE tradeflow_{name}")
        cursor.execute(f"CREATE USER {name}@'%' IDENTIFIED BY 'a-password'")
        cursor.execute(f"GRANT ALL ON tradeflow_{name}.* TO {name}@'%'")
    return f"mysql://{name}:a-password@{NODE_ADDRESS}:{urlsplit(url).port}/tradeflow_{name}"
