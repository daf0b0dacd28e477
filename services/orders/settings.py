"""The settings of orders: environment variables with the prefix TRADEFLOW_ORDERS_."""

import base64
import binascii
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from services.asset_settings import AssetExponents
from services.orders.domain.session import SessionTimes
from services.orders.domain.terms import Terms
from services.orders.domain.user import Role
from services.orders.use_cases.bootstrap_users import BootstrapUser
from services.runtime.circuit import FAILURES_MAX, OPEN_SECONDS
from services.runtime.grpc_tls import GrpcClientSettings, GrpcServerSettings

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


RESET_SECRET_BYTES_MIN: Final = 24
"""The shortest key that the Standard Webhooks specification allows."""


class BootstrapUserSetting(BaseModel):
    """A user that has to be there, such as the treasury's."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    email: str
    password: SecretStr
    roles: Annotated[frozenset[Role], Field(min_length=1)]

    def to_user(self) -> BootstrapUser:
        """Hand it to the use case."""
        return BootstrapUser(email=self.email, password=self.password.get_secret_value(), roles=self.roles)


class OrdersSettings(GrpcServerSettings, GrpcClientSettings):
    """What one orders process needs to know."""

    model_config = SettingsConfigDict(env_prefix="TRADEFLOW_ORDERS_")

    database_url: str
    """Where orders and users are kept: sqlite:////data/orders.db, or mysql://user:password@host:3306/orders"""

    broker_url: str
    """Where events are read and published, such as sqlite:////data/broker.db"""

    schema_registry_url: str | None = None
    """A schema registry such as http://registry:8081/apis/ccompat/v7: events are published in its wire format then"""

    issuer: str
    """The exact `iss` of the tokens to trust."""

    jwks_url: str
    """Where the issuer's public keys are, such as http://gateway:8080/.well-known/jwks.json"""

    ledger_grpc_target: str
    """Where the ledger listens, such as ledger:9090, or dns:///ledger:9090 for all replicas behind a headless name"""

    token_url: str
    """Where this service gets its own tokens, such as http://gateway:8080/oauth/token"""

    client_secret: SecretStr
    """What proves to the token issuer who this service is."""

    client_id: str = "orders"
    """The name of this service at the token issuer, and in the ledger's keys: it never changes."""

    http_host: str = "127.0.0.1"
    """The address that the HTTP door listens on."""

    http_port: Port = 8081
    """The port of the HTTP door; 0 takes any free one."""

    grpc_host: str = "127.0.0.1"
    """The address that the gRPC door listens on."""

    grpc_port: Port = 9091
    """The port of the gRPC door; 0 takes any free one."""

    fee_basis_points: Annotated[int, Field(ge=0, le=10_000)] = 250
    """What the platform keeps of each sale, in 1/10,000; an order keeps the fee that it was placed with."""

    order_lifetime_seconds: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] = 900
    """How long an order waits to be confirmed before it expires; its hold lives four times as long."""

    unheld_lifetime_seconds: Annotated[int, Field(ge=60, le=7 * 24 * 3600)] = 120
    """How long an order waits for its buyer to come back while no money is held for it, and keeps its stock."""

    patience_seconds: Seconds = 10.0
    """How long a step of an order may take before the reconciler looks after it."""

    finish_every_seconds: Seconds = 1.0
    """How often the reconciler looks for orders that are due."""

    reconcile_every_seconds: Seconds = 1.0
    """How long the comparison with the ledger rests when nothing is left, and at most between two steps of a round."""

    request_lease_seconds: Seconds = 30.0
    """How long a request that died keeps its Idempotency-Key; longer than any request takes."""

    request_key_retention_days: Annotated[int, Field(ge=1, le=3650)] = 30
    """How long an Idempotency-Key is known; a request under an older one is a new request."""

    event_retention_days: Annotated[int, Field(ge=1, le=3650)] = 7
    """How long published events stay in the outbox."""

    ledger_deadline_seconds: Seconds = 5.0
    """How long one call on the ledger may take, repetitions included."""

    ledger_waiting_max: Annotated[int, Field(ge=1, le=100_000)] = 512
    """How many requests may wait for the ledger at once; more are told to come back."""

    ledger_failures_max: Annotated[int, Field(ge=1, le=1000)] = FAILURES_MAX
    """How many calls in a row the ledger leaves unanswered before it is left alone for a while."""

    ledger_open_seconds: Seconds = OPEN_SECONDS
    """How long it is then left alone, before one call tries whether it is back."""

    placed_together_max: Annotated[int, Field(ge=1, le=1_024)] = 128
    """How many orders that come at the same time may share a commit; 1 gives each step of each order its own."""

    webhook_plain_http_allowed: bool = False
    """Whether merchants may listen without TLS; for trying out."""

    webhook_private_addresses_allowed: bool = False
    """Whether webhooks may go to private addresses. Whoever registers an endpoint chooses what this service calls."""

    webhook_timeout_seconds: Annotated[float, Field(gt=0, le=30)] = 10.0
    """How long a merchant's endpoint may take to answer."""

    webhook_attempts_max: Annotated[int, Field(ge=1, le=50)] = 16
    """How often a webhook is tried, with pauses that double from 5 seconds to 6 hours: 16 are about a day."""

    webhook_retention_days: Annotated[int, Field(ge=1, le=3650)] = 30
    """How long webhooks that ended are listed, dead ones can be redriven, and endpoints that were removed are kept."""

    password_reset_url: str | None = None
    """Where tokens for new passwords are posted, for your service to mail; without it nobody gets one by asking."""

    password_reset_secret: SecretStr | None = None
    """What those posts are signed with, as Standard Webhooks has it: whsec_ and the base64 of at least 24 bytes."""

    session_idle_days: Annotated[int, Field(ge=1, le=365)] = 30
    """How long a session lives that nobody refreshes."""

    session_longest_days: Annotated[int, Field(ge=1, le=3650)] = 90
    """After how long everybody signs in again."""

    refresh_grace_seconds: Annotated[float, Field(ge=0, le=60)] = 10.0
    """How long a used refresh token still gets a successor: for lost answers and second tabs."""

    password_memory_kibibytes: Annotated[int, Field(ge=8)] = 19_456
    """The memory of one argon2id hash. OWASP's least is 19,456; tests lower it."""

    password_passes: Annotated[int, Field(ge=1)] = 2
    """The passes of one argon2id hash. OWASP's least is 2."""

    password_threads: Annotated[int, Field(ge=1, le=64)] = 2
    """How many passwords are hashed at once."""

    bootstrap_users: tuple[BootstrapUserSetting, ...] = ()
    """Users to make at the start if they are absent, as JSON: [{"email": …, "password": …, "roles": ["treasury"]}]"""

    migrate_on_start: bool = True
    """Whether the tables are brought up to date before anything else; otherwise `tradeflow migrate` does that."""

    assets: AssetExponents = Field(default_factory=dict)
    """Assets beside ISO 4217's, each with its decimal places, such as {"PTS": 0}; the same in every service."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least level that is logged."""

    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or lines for people."""

    @model_validator(mode="after")
    def _check_password_reset(self) -> Self:
        if self.password_reset_url is None:
            return self
        if not self.password_reset_url.startswith(("https://", "http://")):
            raise ValueError("password_reset_url must be https:// or http://")
        if len(self.to_password_reset_secret()) < RESET_SECRET_BYTES_MIN:
            raise ValueError(
                "password_reset_url needs password_reset_secret: whsec_ and the base64 of 24 bytes or more"
            )
        return self

    def to_password_reset_secret(self) -> bytes:
        """Read the key that tokens for new passwords are signed with; empty where it isn't one."""
        text = "" if self.password_reset_secret is None else self.password_reset_secret.get_secret_value()
        try:
            return base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            return b""

    def to_terms(self) -> Terms:
        """Pick what the use cases of commerce need."""
        return Terms(
            fee_basis_points=self.fee_basis_points,
            order_lifetime=timedelta(seconds=self.order_lifetime_seconds),
            unheld_lifetime=timedelta(seconds=self.unheld_lifetime_seconds),
            request_lease=timedelta(seconds=self.request_lease_seconds),
            patience=timedelta(seconds=self.patience_seconds),
        )

    def to_session_times(self) -> SessionTimes:
        """Pick what the use cases of identity need."""
        return SessionTimes(
            idle=timedelta(days=self.session_idle_days),
            longest=timedelta(days=self.session_longest_days),
            grace=timedelta(seconds=self.refresh_grace_seconds),
        )
