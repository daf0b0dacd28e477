"""What somebody can choose about an embedded platform, and what it tells once it runs."""

from dataclasses import dataclass
from pathlib import Path

from services.embedded.data_folder import DEFAULT_DATA_FOLDER, DataFolder, Secrets

LOOPBACK = "127.0.0.1"
"""Only this machine."""

GATEWAY_PORT = 8080
"""The public API."""

ORDERS_PORT = 8081
"""The orders service's own HTTP."""

LEDGER_PORT = 8082
"""The ledger's own HTTP."""

LEDGER_GRPC_PORT = 9090
"""The ledger's gRPC."""

ORDERS_GRPC_PORT = 9091
"""The orders service's gRPC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformOptions:
    """Where the platform keeps its data and where it listens; port 0 is any free one.

    All else can be set by the services' own environment variables (TRADEFLOW_ORDERS_FEE_BASIS_POINTS, …).
    """

    data: Path = DEFAULT_DATA_FOLDER
    host: str = LOOPBACK
    gateway_port: int = GATEWAY_PORT
    orders_port: int = ORDERS_PORT
    ledger_port: int = LEDGER_PORT
    ledger_grpc_port: int = LEDGER_GRPC_PORT
    orders_grpc_port: int = ORDERS_GRPC_PORT


def on_free_ports(data: Path) -> PlatformOptions:
    """Choose free ports for everything."""
    return PlatformOptions(
        data=data, gateway_port=0, orders_port=0, ledger_port=0, ledger_grpc_port=0, orders_grpc_port=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A platform that runs."""

    gateway_url: str
    orders_url: str
    ledger_url: str
    orders_grpc_target: str
    ledger_grpc_target: str
    folder: DataFolder
    secrets: Secrets
