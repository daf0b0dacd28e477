"""Each service's own settings, as the embedded platform fills them in.

What is not given here comes from the services' own environment variables and defaults, as it does elsewhere.
"""

import errno
import hashlib
import random
import socket
from dataclasses import dataclass

from pydantic import SecretStr

from services.embedded.data_folder import OPERATOR_EMAIL, TREASURY_EMAIL, DataFolder, Secrets
from services.embedded.options import PlatformOptions
from services.embedded.sqlite_url import sqlite_url
from services.gateway.settings import GatewaySettings
from services.ledger.settings import LedgerSettings
from services.orders.domain.user import Role
from services.orders.settings import BootstrapUserSetting, OrdersSettings

ISSUER = "https://tradeflow.example"
"""A name, not an address: tokens outlive a restart on another port."""

PORTS = range(20_000, 32_768)
"""Below those that Linux gives to outgoing connections: one of them could take the port before the gateway does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all three services agree on before any of them runs."""

    options: PlatformOptions
    folder: DataFolder
    secrets: Secrets
    gateway_port: int

    @property
    def gateway_url(self) -> str:
        """Where the others find keys and tokens; nothing needs to listen there yet."""
        return f"http://{self.options.host}:{self.gateway_port}"

    @property
    def jwks_url(self) -> str:
        """Where the public keys will be."""
        return f"{self.gateway_url}/.well-known/jwks.json"

    def ledger(self) -> LedgerSettings:
        """Fill in the ledger's settings."""
        return LedgerSettings(
            database_url=sqlite_url(self.folder.ledger_database),
            broker_url=sqlite_url(self.folder.broker_file),
            issuer=ISSUER,
            jwks_url=self.jwks_url,
            http_host=self.options.host,
            http_port=self.options.ledger_port,
            grpc_host=self.options.host,
            grpc_port=self.options.ledger_grpc_port,
            signing_keys_folder=self.folder.ledger_keys,
        )

    def orders(self, *, ledger_grpc_target: str) -> OrdersSettings:
        """Fill in the orders service's settings."""
        return OrdersSettings(
            database_url=sqlite_url(self.folder.orders_database),
            broker_url=sqlite_url(self.folder.broker_file),
            issuer=ISSUER,
            jwks_url=self.jwks_url,
            token_url=f"{self.gateway_url}/oauth/token",
            client_secret=SecretStr(self.secrets.orders_client_secret),
            ledger_grpc_target=ledger_grpc_target,
            http_host=self.options.host,
            http_port=self.options.orders_port,
            grpc_host=self.options.host,
            grpc_port=self.options.orders_grpc_port,
            bootstrap_users=(
                _bootstrap_user(TREASURY_EMAIL, self.secrets.treasury_password, Role.TREASURY),
                _bootstrap_user(OPERATOR_EMAIL, self.secrets.operator_password, Role.OPERATOR),
            ),
        )

    def gateway(
        self, *, redis_url: str, orders_url: str, ledger_url: str, orders_grpc_target: str, ledger_grpc_target: str
    ) -> GatewaySettings:
        """Fill in the gateway's settings."""
        return GatewaySettings(
            broker_url=sqlite_url(self.folder.broker_file),
            redis_url=redis_url,
            issuer=ISSUER,
            keys_folder=self.folder.keys,
            orders_http_url=orders_url,
            ledger_http_url=ledger_url,
            orders_grpc_target=orders_grpc_target,
            ledger_grpc_target=ledger_grpc_target,
            clients={"orders": sha256_of(self.secrets.orders_client_secret)},
            http_host=self.options.host,
            http_port=self.gateway_port,
            demo_top_ups=True,
        )


def plan_of(options: PlatformOptions, folder: DataFolder) -> Plan:
    """Decide what must be known before anything starts: the secrets and the gateway's port."""
    port = options.gateway_port or free_port(options.host)
    return Plan(options=options, folder=folder, secrets=folder.secrets(), gateway_port=port)


def free_port(host: str) -> int:
    """Choose a port that is free now, by chance. The services must know the gateway's before it listens.

    Raises:
        OSError: None of a hundred ports was free.
    """
    for port in random.sample(PORTS, 100):
        try:
            with socket.create_server((host, port)):
                return port
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(f"no free port between {PORTS.start} and {PORTS.stop}")


def _bootstrap_user(email: str, password: str, role: Role) -> BootstrapUserSetting:
    return BootstrapUserSetting(email=email, password=SecretStr(password), roles=frozenset({role}))


def sha256_of(secret: str) -> str:
    """Hash a client's secret: all that the gateway knows of it."""
    return hashlib.sha256(secret.encode()).hexdigest()
