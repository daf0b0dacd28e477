"""What the gateway is told from outside, read once."""

import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from services.asset_settings import AssetExponents
from services.gateway.access_tokens import OWN_CLIENT_ID
from services.gateway.external_issuers import ISSUERS_MAX, ExternalIssuer, distinct
from services.gateway.rate_limits_file import RateLimit, distinctly_named
from services.gateway.rate_policies import FailureMode, RateRules
from services.runtime.grpc_tls import GrpcClientSettings

_SHA256_HEX = re.compile(r"[0-9a-f]{64}")


DEFAULT_RATE_LIMITS = (
    RateLimit(name="sign-in", route_class="auth", per="ip", limit=60, window_seconds=60),
    RateLimit(name="address", route_class="any", per="ip", limit=3000, window_seconds=60),
    RateLimit(name="reads", route_class="read", per="user", limit=1200, window_seconds=60),
    RateLimit(name="writes", route_class="write", per="user", limit=300, window_seconds=60),
    RateLimit(name="connections", route_class="socket", per="user", limit=60, window_seconds=60),
)
"""Far above what a person does, far below what hurts; an office behind one address shares `address`."""


class GatewaySettings(GrpcClientSettings):
    """The gateway's settings; environment variables begin with TRADEFLOW_GATEWAY_."""

    model_config = SettingsConfigDict(env_prefix="TRADEFLOW_GATEWAY_")

    broker_url: str
    """Where wallet events are read: sqlite:////path/broker.db."""

    redis_url: str
    """Redis or Valkey: redis://host:6379/0. Holds only what may be lost."""

    issuer: str
    """The `iss` of all tokens: the gateway's public URL."""

    keys_folder: Path
    """A folder with the private JWK set files that sign tokens."""

    orders_http_url: str
    """The orders service's REST API."""

    ledger_http_url: str
    """The ledger's REST API."""

    orders_grpc_target: str
    """host:port of the orders service's IdentityService."""

    ledger_grpc_target: str
    """host:port of the ledger's LedgerService."""

    clients: dict[str, str]
    """Who may ask for service tokens: JSON of client ids and the SHA-256, in hex, of their secrets."""

    client_audiences: dict[str, list[str]] = Field(default={"orders": ["ledger"]})
    """For which services each client may ask for tokens: JSON of client ids and lists of audiences."""

    http_host: str = "127.0.0.1"
    """The address to listen on."""

    http_port: int = Field(default=8080, ge=0, le=65535)
    """The port to listen on; 0 means any free one."""

    metrics_host: str = "127.0.0.1"
    """The address of the port of metrics."""

    metrics_port: int = Field(default=0, ge=0, le=65535)
    """The port of /metrics, and of all that /readyz has to say. 0: both are at http_port, for whoever calls."""

    access_token_seconds: int = Field(default=600, ge=1, le=600)
    """How long a user's access token is good: a revocation that nobody hears of lasts no longer."""

    service_token_seconds: int = Field(default=300, ge=60, le=3600)
    """How long a service's token is good."""

    ticket_seconds: int = Field(default=30, ge=1, le=60)
    """How long a ticket for a WebSocket is good."""

    jwks_max_age_seconds: int = Field(default=60, ge=0, le=3600)
    """How long anyone may cache the public keys; a key is published at least this long before it signs."""

    keys_mount_seconds_max: float = Field(default=120.0, ge=0)
    """How much later another replica may see a change of the folder: a key is published so much longer before it signs.
    Kubelets look at mounts once a minute, on a cache of a minute."""

    keys_reload_seconds: float = Field(default=2.0, gt=0)
    """How often the folder of keys is looked at."""

    rate_limits: tuple[RateLimit, ...] = DEFAULT_RATE_LIMITS
    """JSON list of {name, route_class: auth|read|write|socket|any, per: user|ip, limit, window_seconds}, and more that
    `rate_limits_file.py` tells."""

    rate_limits_file: Path | None = None
    """A mounted rate-limits.json that replaces them, read again when it changes: see `rate_limits_file.py`."""

    sign_in_network_failures_max: int = Field(default=10, ge=1)
    """Wrong passwords for one account from one network in 15 minutes; then 429, with or without such an account."""

    sign_in_account_failures_max: int = Field(default=60, ge=1)
    """Wrong passwords for one account from all networks in an hour."""

    external_issuers: Annotated[tuple[ExternalIssuer, ...], Field(max_length=ISSUERS_MAX)] = ()
    """JSON list of other issuers whose ID tokens POST /auth/exchange takes: {name, issuer, audience}, and more that
    docs/platform/identity.md tells."""

    rate_limit_failure_mode: FailureMode = "open"
    """What to do with calls that can't be counted, because Redis is away: open lets them pass, closed answers 503."""

    revocation_failure_mode: Literal["open", "closed"] = "open"
    """What to do when neither Redis nor the orders service can tell whether a token was revoked."""

    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """JSON list of networks whose X-Forwarded-For and X-Forwarded-Proto are believed: the load balancer in front."""

    body_bytes_max: int = Field(default=1024 * 1024, ge=1024)
    """The largest request body."""

    upstream_seconds_max: float = Field(default=15.0, gt=0)
    """How long orders or the ledger may take to answer a proxied request."""

    call_seconds_max: float = Field(default=5.0, gt=0)
    """The deadline of the gateway's own gRPC calls."""

    heartbeat_seconds: float = Field(default=25.0, gt=0)
    """How often an idle WebSocket hears from us: proxies cut connections that are silent for 30 or 60 s."""

    connection_queue_events_max: int = Field(default=256, ge=1)
    """Live events that may wait for one slow WebSocket before it is closed with 3008."""

    connections_max: int = Field(default=20_000, ge=1)
    """WebSockets and event streams in one replica."""

    connections_per_wallet_max: int = Field(default=32, ge=1)
    """WebSockets and event streams of one wallet in one replica."""

    drain_seconds_max: float = Field(default=3.0, ge=0)
    """How long connections get to leave at shutdown after they were told; the rest of it may take 20 s more."""

    assets: AssetExponents = Field(default_factory=dict)
    """Assets beside ISO 4217's, each with its decimal places, such as {"PTS": 0}; the same in every service."""

    demo_top_ups: bool = False
    """Whether the console gives users money out of nothing: for trying out, and never elsewhere."""

    console_trace_url: str = ""
    """Where people look at a trace, with `{trace_id}` in it: http://localhost:9411/zipkin/traces/{trace_id}."""

    log_level: str = "INFO"
    """The least level that is logged."""

    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or lines for people."""

    @field_validator("clients")
    @classmethod
    def _check_clients(cls, clients: dict[str, str]) -> dict[str, str]:
        if OWN_CLIENT_ID in clients:
            raise ValueError(f"no client may be called {OWN_CLIENT_ID}: orders trusts that name")
        wrong = [client_id for client_id, digest in clients.items() if not _SHA256_HEX.fullmatch(digest)]
        if wrong:
            raise ValueError(f"not a SHA-256 in lower-case hex: {', '.join(wrong)}")
        return clients

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, url: str) -> str:
        if not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("supported are redis://, rediss:// and unix://")
        return url

    @field_validator("rate_limits")
    @classmethod
    def _check_names(cls, limits: tuple[RateLimit, ...]) -> tuple[RateLimit, ...]:
        return distinctly_named(limits)

    @field_validator("external_issuers")
    @classmethod
    def _check_issuers(cls, issuers: tuple[ExternalIssuer, ...]) -> tuple[ExternalIssuer, ...]:
        return distinct(issuers)

    @model_validator(mode="after")
    def _check_own_issuer(self) -> "GatewaySettings":
        if any(issuer.issuer == self.issuer for issuer in self.external_issuers):
            raise ValueError("TRADEFLOW_GATEWAY_EXTERNAL_ISSUERS names the gateway itself")
        return self

    def to_rate_rules(self) -> RateRules:
        """Pick the limits that hold while there is no file."""
        policies = tuple(limit.policy() for limit in self.rate_limits)
        return RateRules(policies=policies, failure_mode=self.rate_limit_failure_mode)
