"""The ledger's settings: environment variables with the prefix TRADEFLOW_LEDGER_."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.settings import ServiceSettings

Port = Annotated[int, Field(ge=0, le=65535)]


class LedgerSettings(ServiceSettings):
    """What one ledger process needs to know."""

    model_config = SettingsConfigDict(env_prefix="TRADEFLOW_LEDGER_")

    database_url: str
    """Where the book is kept, such as sqlite:////data/ledger.db"""

    broker_url: str
    """Where events are read and published, such as sqlite:////data/broker.db"""

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

    book_id: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1
    """Which book of the database this process writes."""

    batch_commands_max: Annotated[int, Field(ge=1, le=8192)] = 1024
    """The most commands of one commit."""

    queue_commands_max: Annotated[int, Field(ge=1, le=1_000_000)] = 8192
    """How many commands may wait; more are refused with a hint to come back."""

    migrate_on_start: bool = True
    """Whether the tables are brought up to date before anything else."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least level that is logged."""

    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or lines for people."""
