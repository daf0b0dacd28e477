"""compose.yaml and the Dockerfile fit the services that they run."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from pydantic_settings import BaseSettings

from services.embedded.cli import COMMANDS
from services.embedded.commands.compose import CLIENT_SECRET_DIGEST, PASSWORDS
from services.embedded.service_settings import sha256_of
from services.gateway.inbound.wallet_events import TOPIC
from services.gateway.settings import GatewaySettings
from services.ledger.settings import LedgerSettings
from services.ledger.wiring import TOPICS as LEDGER_TOPICS
from services.orders.settings import OrdersSettings
from services.orders.wiring import TOPICS as ORDERS_TOPICS
from services.runtime.settings import variable_name

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()

SETTINGS: dict[str, type[BaseSettings]] = {
    "ledger": LedgerSettings,
    "orders": OrdersSettings,
    "gateway": GatewaySettings,
}
"""Our processes, and what each must be told."""

PORTS = {
    "ledger-mysql": {3306: 3306},
    "orders-mysql": {3307: 3306},
    "redis": {6379: 6379},
    "kafka": {9092: 9092},
    "registry": {8085: 8080},
    "zipkin": {9411: 9411},
    "gateway": {8080: GatewaySettings.model_fields["http_port"].default},
    "orders": {8081: OrdersSettings.model_fields["http_port"].default},
    "ledger": {
        8082: LedgerSettings.model_fields["http_port"].default,
        9090: LedgerSettings.model_fields["grpc_port"].default,
    },
}
"""Where people find what, and where it listens inside."""

OWN_PORTS = {
    "ledger:8082",
    "ledger:9090",
    "orders:8081",
    "orders:9091",
    "gateway:8080",
    "ledger-mysql:3306",
    "orders-mysql:3306",
    "redis:6379",
    "kafka:29092",
    "registry:8080",
    "zipkin:9411",
}
"""Where containers find each other."""

FOR_BROWSERS = {"TRADEFLOW_GATEWAY_CONSOLE_TRACE_URL"}
"""Settings whose addresses people's browsers go to, from outside of the containers."""

DEFAULT = re.compile(r"\$\{(\w+):-([^}]*)\}")
"""A variable of .env, and what stands for it without one."""


def value_of(text: str) -> str:
    """Fill in what a machine without a file .env has."""
    return DEFAULT.sub(lambda match: match[2], text)


@pytest.fixture(params=SETTINGS)
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, str]]:
    """Give this process the environment of one of ours."""
    name = str(request.param)
    variables = {key: value_of(value) for key, value in SERVICES[name]["environment"].items()}
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    return name, variables


def test_a_process_is_told_all_that_it_must_know_and_nothing_that_it_does_not(
    environment: tuple[str, dict[str, str]],
) -> None:
    name, variables = environment
    known = {variable_name(SETTINGS[name], field) for field in SETTINGS[name].model_fields}

    SETTINGS[name]()

    assert set(variables) <= known


def test_every_address_is_a_container_and_a_port_that_it_listens_at(environment: tuple[str, dict[str, str]]) -> None:
    _, variables = environment
    addresses = {
        value if name.endswith("_TARGET") else urlsplit(value).netloc.rpartition("@")[2]
        for name, value in variables.items()
        if name.endswith(("_URL", "_TARGET")) and name not in FOR_BROWSERS
    }

    assert addresses
    assert addresses <= OWN_PORTS


def test_the_gateway_knows_the_secret_that_orders_shows() -> None:
    secret = value_of(SERVICES["orders"]["environment"]["TRADEFLOW_ORDERS_CLIENT_SECRET"])
    clients = json.loads(value_of(SERVICES["gateway"]["environment"]["TRADEFLOW_GATEWAY_CLIENTS"]))

    assert clients == {"orders": sha256_of(secret)}


def test_a_database_is_entered_with_the_password_that_it_was_made_with() -> None:
    for name in ("ledger", "orders"):
        made = SERVICES[f"{name}-mysql"]["environment"]
        url = urlsplit(value_of(SERVICES[name]["environment"][f"TRADEFLOW_{name.upper()}_DATABASE_URL"]))

        assert (url.username, url.password) == (made["MYSQL_USER"], value_of(made["MYSQL_PASSWORD"]))
        assert url.path == f"/{made['MYSQL_DATABASE']}"


def test_the_command_that_draws_passwords_draws_all_of_them() -> None:
    assert {name for name, _ in DEFAULT.findall(TEXT)} == {*PASSWORDS, CLIENT_SECRET_DIGEST}


def test_everything_is_published_on_this_machine_alone_where_the_design_says() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {
        name: [f"127.0.0.1:{outside}:{inside}" for outside, inside in ports.items()] for name, ports in PORTS.items()
    }


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_a_certain_version_or_built_here(name: str) -> None:
    service = SERVICES[name]

    if "build" in service:
        assert service["image"] == "tradeflow:dev"
    else:
        assert re.fullmatch(r"[a-z/-]+:\d[\d.]+", service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_who_waits_for_another_waits_for_something_that_can_come(name: str) -> None:
    for other, wish in SERVICES[name].get("depends_on", {}).items():
        if wish["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert wish["condition"] == "service_completed_successfully"
            assert "ports" not in SERVICES[other]


def test_whatever_stays_tells_whether_it_is_well() -> None:
    staying = {name for name, service in SERVICES.items() if service.get("restart") == "unless-stopped"}

    assert staying == set(PORTS)
    assert {name for name in staying if "healthcheck" not in SERVICES[name]} == set()


def test_every_topic_is_made_that_a_process_starts_with() -> None:
    made = set(re.findall(r"--topic (\S+)", " ".join(SERVICES["topics"]["command"])))

    assert {*LEDGER_TOPICS, *ORDERS_TOPICS, TOPIC} <= made


def test_each_command_is_one_that_the_image_has() -> None:
    ours = [service["command"] for service in SERVICES.values() if "build" in service]

    for command in ours:
        if command[0] == "tradeflow":
            assert command[1] in COMMANDS
        else:
            assert re.search(rf"for process in [^;]*\b{command[0]}=", DOCKERFILE)


def test_the_image_is_built_from_what_can_be_named_and_runs_as_nobody_in_particular() -> None:
    lines = DOCKERFILE.splitlines()

    assert not [line for line in lines if line.startswith("# syntax=")]
    assert [line for line in lines if line.startswith("FROM")] == [
        "FROM golang:1.26 AS helm-from-source",
        "FROM ${HELM_IMAGE} AS helm",
        "FROM ${BASE_IMAGE} AS build",
        "FROM ${BASE_IMAGE} AS services",
        "FROM services",
    ]
    assert [line for line in lines if line.startswith("ARG BASE_IMAGE=")] == ["ARG BASE_IMAGE=python:3.11-slim"]
    assert re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.MULTILINE) != ["0"]
    assert "USER 10001:10001" in lines
