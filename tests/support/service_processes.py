"""The three services as processes of their own, each of which can be killed and started again."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from services.embedded.data_folder import OPERATOR_EMAIL, TREASURY_EMAIL, DataFolder
from services.embedded.service_settings import ISSUER, sha256_of
from services.embedded.sqlite_url import sqlite_url
from services.gateway.keys import ensure_keys
from tests.support.platform import NO_RATE_LIMITS, REPOSITORY, START_SECONDS_MAX

SERVICES = ("ledger", "orders", "gateway")
"""Each is `python -m services.NAME`."""

IMPATIENT = {"TRADEFLOW_ORDERS_PATIENCE_SECONDS": "1", "TRADEFLOW_ORDERS_ORDER_LIFETIME_SECONDS": "8"}
"""What a crash left behind is finished, or given up, within seconds."""


class ServiceProcess:
    """One service; it listens at the same place after each start."""

    def __init__(self, name: str, environment: Mapping[str, str], errors_file: Path) -> None:
        """Prepare."""
        self.name = name
        self.errors_file = errors_file
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[str] | None = None

    def begin(self) -> None:
        """Start it, without waiting for it."""
        with self.errors_file.open("a") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"services.{self.name}"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self._environment,
                cwd=REPOSITORY,
                start_new_session=True,
            )

    def wait_until_started(self) -> None:
        """Wait until it says where it listens."""
        assert self._process is not None
        assert self._process.stdout is not None
        watchdog = threading.Timer(START_SECONDS_MAX, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        watchdog.join()
        assert line.startswith(self.name), f"{self.name} did not start: {self.errors_file.read_text()}"

    def start(self) -> None:
        """Start it, and wait for it."""
        self.begin()
        self.wait_until_started()

    def kill(self) -> None:
        """End it without any warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None


class ServiceProcesses:
    """All three, on one data folder."""

    def __init__(self, data: Path, redis_url: str) -> None:
        """Prepare the folder, keys, secrets and addresses."""
        self.data = data
        self.folder = DataFolder(data)
        self.folder.prepare()
        ensure_keys(self.folder.keys)
        self._ports = dict(
            zip(("gateway", "orders", "ledger", "orders_grpc", "ledger_grpc"), _free_ports(5), strict=True)
        )
        environment = {**NO_RATE_LIMITS, **IMPATIENT, **self._settings(redis_url)}
        self.by_name = {name: ServiceProcess(name, environment, data / f"{name}.stderr") for name in SERVICES}

    @property
    def gateway_url(self) -> str:
        """Where the public API is."""
        return f"http://127.0.0.1:{self._ports['gateway']}"

    def _settings(self, redis_url: str) -> dict[str, str]:
        """Give each service what it asks for, as an administrator would."""
        ports, secrets = self._ports, self.folder.secrets()
        jwks_url = f"{self.gateway_url}/.well-known/jwks.json"
        ledger_grpc, orders_grpc = (f"127.0.0.1:{ports[name]}" for name in ("ledger_grpc", "orders_grpc"))
        staff = [
            {"email": TREASURY_EMAIL, "password": secrets.treasury_password, "roles": ["treasury"]},
            {"email": OPERATOR_EMAIL, "password": secrets.operator_password, "roles": ["operator"]},
        ]
        common = {"BROKER_URL": sqlite_url(self.folder.broker_file), "ISSUER": ISSUER, "LOG_LEVEL": "WARNING"}
        settings = {
            "LEDGER": {
                "DATABASE_URL": sqlite_url(self.folder.ledger_database),
                "JWKS_URL": jwks_url,
                "HTTP_PORT": str(ports["ledger"]),
                "GRPC_PORT": str(ports["ledger_grpc"]),
            },
            "ORDERS": {
                "DATABASE_URL": sqlite_url(self.folder.orders_database),
                "JWKS_URL": jwks_url,
                "TOKEN_URL": f"{self.gateway_url}/oauth/token",
                "CLIENT_SECRET": secrets.orders_client_secret,
                "LEDGER_GRPC_TARGET": ledger_grpc,
                "HTTP_PORT": str(ports["orders"]),
                "GRPC_PORT": str(ports["orders_grpc"]),
                "BOOTSTRAP_USERS": json.dumps(staff),
            },
            "GATEWAY": {
                "REDIS_URL": redis_url,
                "KEYS_FOLDER": str(self.folder.keys),
                "ORDERS_HTTP_URL": f"http://127.0.0.1:{ports['orders']}",
                "LEDGER_HTTP_URL": f"http://127.0.0.1:{ports['ledger']}",
                "ORDERS_GRPC_TARGET": orders_grpc,
                "LEDGER_GRPC_TARGET": ledger_grpc,
                "CLIENTS": json.dumps({"orders": sha256_of(secrets.orders_client_secret)}),
                "HTTP_PORT": str(ports["gateway"]),
            },
        }
        return {
            f"TRADEFLOW_{service}_{name}": value
            for service, own in settings.items()
            for name, value in {**common, **own}.items()
        }


@contextmanager
def service_processes(data: Path, redis_url: str) -> Iterator[ServiceProcesses]:
    """Prepare the services; the body starts and kills them at will, and none survives it."""
    processes = ServiceProcesses(data, redis_url)
    try:
        yield processes
    finally:
        for process in processes.by_name.values():
            process.kill()


def _free_ports(count: int) -> list[int]:
    """Find ports that are free now, all different."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
