"""The ledger's settings: environment variables with the prefix TRADEFLOW_LEDGER_."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.asset_settings import AssetExponents
from services.ledger.housekeeping.answer_retention import Retention
from services.runtime.grpc_tls import GrpcClientSettings, GrpcServerSettings

Port = Annotated[int, Field(ge=0, le=65535)]


class LedgerSettings(GrpcServerSettings, GrpcClientSettings):
    """What one ledger process needs to know."""

    model_config = SettingsConfigDict(env_prefix="TRADEFLOW_LEDGER_")

    database_url: str
    """Where the book is kept: sqlite:////data/ledger.db, or mysql://user:password@host:3306/ledger"""

    broker_url: str
    """Where events are read and published, such as sqlite:////data/broker.db"""

    schema_registry_url: str | None = None
    """A schema registry such as http://registry:8081/apis/ccompat/v7: events are published in its wire format then"""

    issuer: str
    """The exact `iss` of the tokens to trust."""

    jwks_url: str
    """Where the issuer's public keys are, such as http://gateway:8080/.well-known/jwks.json"""

    http_host: str = "127.0.0.1"
    """The address that the HTTP door listens on."""

    http_port: Port = 8082
    """The port of the HTTP door; 0 takes any free one."""

    grpc_host: str = "127.0.0.1"
    """The address that the gRPC door listens on."""

    grpc_port: Port = 9090
    """The port of the gRPC door; 0 takes any free one."""

    replicas_grpc_target: str | None = None
    """Where all replicas of this ledger are, such as dns:///ledger-headless:9090: those that stand by hand the commands
    of gRPC calls on to the leader then, which commits them sooner."""

    book_id: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1
    """Which book of the database this process writes."""

    batch_commands_max: Annotated[int, Field(ge=1, le=8192)] = 1024
    """The most commands of one commit."""

    queue_commands_max: Annotated[int, Field(ge=1, le=1_000_000)] = 8192
    """How many commands may wait; more are refused with a hint to come back. One call of more may wait alone."""

    answer_retention_days: Annotated[int, Field(ge=1, le=3650)] = 30
    """How long an answer without effect is repeated, such as a refusal; then its key answers `key_expired`."""

    expired_key_retention_days: Annotated[int, Field(ge=1, le=3650)] = 335
    """How long such a key is known after that; then it is as good as new."""

    event_retention_days: Annotated[int, Field(ge=1, le=3650)] = 7
    """How long published events are kept, as the history that clients resume from."""

    lease_seconds: Annotated[float, Field(ge=0.5, le=60)] = 5.0
    """How long the leading committer of a book may be silent before another one takes over."""

    signing_keys_folder: Path | None = None
    """The folder of the private Ed25519 keys that sign where the book stands; without it nothing is signed."""

    audit_load_ratio: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Which part of the time the continuous audit of the book may be at work; it never holds a committer up."""

    audit_pause_seconds: Annotated[float, Field(ge=0.01, le=86_400)] = 5.0
    """How long the audit rests after each walk through the whole book."""

    migrate_on_start: bool = True
    """Whether the tables are brought up to date before anything else; otherwise `tradeflow migrate` does that."""

    assets: AssetExponents = Field(default_factory=dict)
    """Assets beside ISO 4217's, each with its decimal places, such as {"PTS": 0}; the same in every service."""

    refund_shortfall: Literal["refuse", "receivable"] = "refuse"
    """What becomes of a refund when a seller has too little: it is refused, or the seller owes what lacks."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least level that is logged."""

    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or lines for people."""

    def to_retention(self) -> Retention:
        """Pick what housekeeping needs."""
        answers = timedelta(days=self.answer_retention_days)
        return Retention(answers=answers, keys=answers + timedelta(days=self.expired_key_retention_days))
