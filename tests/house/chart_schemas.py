"""A chart's values.schema.json: strict, so that a misspelt key is an error and not a silence."""

import json
from typing import Any

from pydantic_settings import BaseSettings

from services.gateway.settings import GatewaySettings
from services.ledger.settings import LedgerSettings
from services.orders.settings import OrdersSettings
from tests.house.chart_values import ChartValue
from tradeflow_operator.settings import OperatorSettings

SETTINGS: dict[str, type[BaseSettings]] = {
    "ledger": LedgerSettings,
    "orders": OrdersSettings,
    "gateway": GatewaySettings,
    "tradeflow-operator": OperatorSettings,
}
"""The processes that have charts, and what they can be told."""

FILLED_IN = frozenset(
    {
        "bootstrap_users",
        "broker_url",
        "client_secret",
        "clients",
        "database_url",
        "grpc_client_ca_file",
        "grpc_client_certificate_file",
        "grpc_client_key_file",
        "grpc_host",
        "grpc_port",
        "grpc_server_certificate_file",
        "grpc_server_client_ca_file",
        "grpc_server_key_file",
        "http_host",
        "http_port",
        "issuer",
        "jwks_url",
        "keys_folder",
        "kubeconfig",
        "lease_namespace",
        "ledger_grpc_target",
        "ledger_http_url",
        "metrics_host",
        "metrics_port",
        "migrate_on_start",
        "namespaces",
        "orders_grpc_target",
        "orders_http_url",
        "password_reset_secret",
        "rate_limits_file",
        "redis_url",
        "replicas_grpc_target",
        "schema_registry_url",
        "signing_keys_folder",
        "token_url",
        "traces_url",
        "unready_seconds",
    }
)
"""Settings that the charts fill in: whoever sets one twice would wonder which wins. And what is secret, which has no
place among values: it comes by `extraEnv` from a Secret."""

_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def schema_of(chart: str, values: tuple[ChartValue, ...], dependencies: tuple[str, ...]) -> dict[str, Any]:
    """Make the schema of all that a chart takes."""
    properties = {value.name: _of(value) for value in values}
    # Helm hands these to each chart; a sub-chart's values are checked by its own schema.
    properties |= {name: {"type": "object"} for name in ("global", *dependencies) if name not in properties}
    definitions: dict[str, Any] = {}
    for value in values:
        if value.schema_note.startswith("settings "):
            definitions = settings_schema(value.schema_note.split()[1]).get("$defs", {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Values of the {chart} chart",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        **({"$defs": definitions} if definitions else {}),
    }


def settings_schema(service: str) -> dict[str, Any]:
    """Return the schema of the settings that people may set, as pydantic has it."""
    schema = SETTINGS[service].model_json_schema()
    properties = {name: rule for name, rule in schema["properties"].items() if name not in FILLED_IN}
    used = {name: rule for name, rule in schema.get("$defs", {}).items() if name in json.dumps(properties)}
    return {"properties": properties, "$defs": used}


def _of(value: ChartValue) -> dict[str, Any]:
    described = {"description": value.description} if value.description else {}
    if value.schema_note.startswith("settings "):
        rules = settings_schema(value.schema_note.split()[1])["properties"]
        return {**described, "type": "object", "additionalProperties": False, "properties": rules}
    if value.schema_note:
        return {**described, **json.loads(value.schema_note)}
    if not value.is_leaf:
        children = {child.name: _of(child) for child in value.children}
        return {**described, "type": "object", "additionalProperties": False, "properties": children}
    return {**described, "type": _TYPES[type(value.default)]}
