"""Fixtures that any test may ask for: databases of all engines, and servers of a test's own."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
import structlog
from hypothesis import HealthCheck, settings

from tests.parts.control_plane import ControlPlane
from tests.parts.go_programs import ensure_program
from tests.parts.kafka_topics import own_topics
from tests.parts.kubernetes_namespace import KubernetesNamespace, fresh_namespace
from tests.parts.opening import installed_folder
from tests.parts.plugin import (
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_configure_node,
    pytest_runtest_makereport,
    pytest_terminal_summary,
    pytest_unconfigure,
    pytest_xdist_make_scheduler,
    run_of,
)
from tests.parts.prometheus import CONFIG_FLAG, PROMTOOL, prometheus_config
from tests.parts.server import Server
from tests.parts.sql_servers import fresh_schema, sql_flags
from tests.support.any_platform import prepare_services, run_platform
from tests.support.logs_as_before import logs_as_before
from tests.support.real_platform import breakable_platform, real_platform, shared_parts

__all__ = [
    "breakable_platform",
    "prepare_services",
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_runtest_makereport",
    "pytest_terminal_summary",
    "pytest_unconfigure",
    "pytest_xdist_make_scheduler",
    "real_platform",
    "run_platform",
    "shared_parts",
]

# structlog's own default draws tracebacks with all local variables, which takes a second each.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Leave the next test the logs that are set up above, whatever this one and the commands that it calls set up."""
    with logs_as_before():
        yield


# A busy machine is no defect: how long something takes is for benchmarks to tell.
settings.register_profile("patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

CLUSTER_SECONDS_MAX = 60
"""How long a cluster may take to see that it has all slots."""

FAST = sql_flags(durable=False)
"""What a contract says doesn't depend on the disk."""

DURABLE = (*sql_flags(durable=True, buffer_pool_mib=256), "--performance-schema=ON")
"""As in production, and with what shows who waits for whom."""

REAL_ENGINES = [pytest.param(name, marks=pytest.mark.part(name)) for name in ("mysql", "mariadb")]
"""Each on a server that the whole run shares."""


@pytest.fixture(params=["sqlite", *REAL_ENGINES])
def engine_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Name an empty database: a file, or a schema of its own on MySQL and on MariaDB."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/databases/test.db"
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def mysql_server(request: pytest.FixtureRequest) -> Server:
    """Share one MySQL, which forgets its last second when it is killed."""
    return run_of(request.config).shared("mysql", "mysql", FAST)


@pytest.fixture(scope="session")
def mariadb_server(request: pytest.FixtureRequest) -> Server:
    """Share one MariaDB, which forgets its last second when it is killed."""
    return run_of(request.config).shared("mariadb", "mariadb", FAST)


@pytest.fixture(scope="session")
def durable_mysql_server(request: pytest.FixtureRequest) -> Server:
    """Share one MySQL whose commits are durable."""
    return run_of(request.config).shared("mysql", "mysql-durable", DURABLE)


@pytest.fixture(scope="session")
def kafka_server(request: pytest.FixtureRequest) -> Server:
    """Share one Kafka."""
    return run_of(request.config).shared("kafka", "kafka")


@pytest.fixture
def kafka_url(kafka_server: Server) -> str:
    """Name a cluster on which nobody else sees the test's topics and groups."""
    return own_topics(kafka_server.url)


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest) -> Server:
    """Share one Redis between the tests of a worker, one after the other."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    return run_of(request.config).shared("redis", f"redis{worker}")


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    """Name a Redis that is empty, and the test's alone."""
    client = redis.Redis.from_url(redis_server.url)
    client.flushall()
    client.close()
    return redis_server.url


@pytest.fixture
def redis_cluster_url(request: pytest.FixtureRequest) -> str:
    """Name an empty cluster of one Redis, the test's alone: it refuses keys of several slots in one command."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    server = run_of(request.config).shared("redis", f"redis-cluster{worker}", ("--cluster-enabled", "yes"))
    client = redis.Redis.from_url(server.url)
    if client.cluster("INFO")["cluster_slots_assigned"] == "0":
        client.cluster("ADDSLOTSRANGE", 0, 16383)
    deadline_seconds = time.monotonic() + CLUSTER_SECONDS_MAX
    while client.cluster("INFO")["cluster_state"] != "ok" and time.monotonic() < deadline_seconds:
        time.sleep(0.05)
    client.flushall()
    client.close()
    return server.url


@pytest.fixture
def mysql_url(mysql_server: Server) -> Iterator[str]:
    """Name an empty schema of the test's own."""
    with fresh_schema(mysql_server.url) as url:
        yield url


@pytest.fixture
def mariadb_url(mariadb_server: Server) -> Iterator[str]:
    """Name an empty schema of the test's own."""
    with fresh_schema(mariadb_server.url) as url:
        yield url


@pytest.fixture
def durable_mysql_url(durable_mysql_server: Server) -> Iterator[str]:
    """Name an empty schema of the test's own, where commits are durable."""
    with fresh_schema(durable_mysql_server.url) as url:
        yield url


@pytest.fixture(scope="session")
def registry_server(request: pytest.FixtureRequest) -> Server:
    """Share one schema registry."""
    return run_of(request.config).shared("registry", "registry")


@pytest.fixture
def registry_url(registry_server: Server) -> str:
    """Name the API that Confluent's clients speak; the subjects are everybody's, so begin them like `kafka_url`'s."""
    return registry_server.url


@pytest.fixture(scope="session")
def zipkin_server(request: pytest.FixtureRequest) -> Server:
    """Share one Zipkin: a trace's id tells whose it is."""
    return run_of(request.config).shared("zipkin", "zipkin")


@pytest.fixture
def zipkin_url(zipkin_server: Server) -> str:
    """Name Zipkin; services send to `zipkin+{zipkin_url}/api/v2/spans`."""
    return zipkin_server.url


@pytest.fixture(scope="session")
def kubernetes_server(request: pytest.FixtureRequest) -> ControlPlane:
    """Share one API server: definitions of resources are everybody's, objects belong into a test's namespace."""
    server = run_of(request.config).shared("kubernetes", "kubernetes")
    assert isinstance(server, ControlPlane)
    return server


@pytest.fixture
def kubernetes(kubernetes_server: ControlPlane) -> Iterator[KubernetesNamespace]:
    """Make a namespace of the test's own."""
    with fresh_namespace(kubernetes_server) as namespace:
        yield namespace


@pytest.fixture(scope="session")
def helm_installed() -> Path:
    """Name the helm program."""
    return ensure_program("helm")


@pytest.fixture(scope="session")
def prometheus_installed() -> Path:
    """Install Prometheus, and name its folder."""
    return installed_folder("prometheus")


@pytest.fixture
def promtool(prometheus_installed: Path) -> Path:
    """Name the program that checks and tests rules."""
    return prometheus_installed / PROMTOOL


@pytest.fixture
def prometheus(
    prometheus_installed: Path,
    private_server: Callable[..., Server],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Server]:
    """Start servers: `prometheus([{"job_name": …, "static_configs": […]}], rules_folder=…, interval_seconds=1)`."""

    def start(
        scrape_configs: Sequence[Mapping[str, Any]] = (), *, rules_folder: Path | None = None, interval_seconds: int = 1
    ) -> Server:
        file = tmp_path_factory.mktemp("prometheus") / "prometheus.yml"
        file.write_text(prometheus_config(scrape_configs, rules_folder=rules_folder, interval_seconds=interval_seconds))
        server = private_server("prometheus", (f"{CONFIG_FLAG}={file}",))
        server.start()
        return server

    return start


@pytest.fixture
def private_server(request: pytest.FixtureRequest) -> Iterator[Callable[..., Server]]:
    """Make servers that the test may kill: `private_server("mysql", flags)`; mark the test with `part`."""
    servers: list[Server] = []

    def make(part: str, flags: tuple[str, ...] | None = None) -> Server:
        usual = DURABLE if part in {"mysql", "mariadb"} else ()
        server = run_of(request.config).private(part, usual if flags is None else flags)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.wipe()
