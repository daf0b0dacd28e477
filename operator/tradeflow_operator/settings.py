"""What the operator is told from outside, read once. A wrong value stops the start and names itself."""

import os
import socket
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

EXIT_CODE_OF_WRONG_SETTINGS = 2
"""The code that shells give to wrong usage; 1 stays free for crashes."""

_OWN_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class OperatorSettings(BaseSettings):
    """The operator's settings; environment variables begin with TRADEFLOW_OPERATOR_."""

    model_config = SettingsConfigDict(
        env_prefix="TRADEFLOW_OPERATOR_",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        validate_default=True,
        extra="ignore",
    )

    kubeconfig: Path | None = None
    """A kubeconfig file; without one the pod's service account is used."""

    namespaces: tuple[str, ...] = ()
    """JSON list of the namespaces whose resources are served; empty means all."""

    lease_namespace: str = ""
    """Where the Lease lives; the pod's own namespace by default."""

    lease_name: str = "tradeflow-operator"
    """The Lease's name: operators that share it take turns."""

    lease_seconds: Annotated[int, Field(ge=3, le=120)] = 12
    """How long a record of the lease holds: a killed leader is replaced after that."""

    lease_renew_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    """How often the lease is renewed, and looked at by those that wait: twice while it holds, or more often."""

    workers: Annotated[int, Field(ge=1, le=256)] = 32
    """Resources that are worked on at a time."""

    resync_seconds: Annotated[float, Field(gt=0)] = 300.0
    """How often a resource is looked at without a change, give or take a fifth: so fast drift is found."""

    backoff_longest_seconds: Annotated[float, Field(gt=0)] = 120.0
    """How long at most to wait after failures in a row: below the resync, so that what fails is seen no less often."""

    batch_size: Annotated[int, Field(ge=1, le=2000)] = 200
    """Topics that Kafka is asked about in one request."""

    audit_seconds: Annotated[float, Field(gt=0)] = 120.0
    """How often the watches are compared with listings."""

    http_host: str = "0.0.0.0"  # noqa: S104 - probes and scrapes come from other hosts
    """The address of /healthz, /readyz and /metrics."""

    http_port: Annotated[int, Field(ge=0, le=65535)] = 8084
    """The port of the same; 0 means any free one."""

    helm_program: str = "helm"
    """The helm that a TradeFlow resource is deployed with."""

    platform_chart: Path = Path("/opt/tradeflow/charts/tradeflow")
    """The umbrella chart that it deploys: the image carries one."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least level that is logged."""

    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or lines for people."""

    @field_validator("lease_renew_seconds")
    @classmethod
    def _within_the_lease(cls, seconds: float, info: ValidationInfo) -> float:
        if seconds * 2 > info.data.get("lease_seconds", 0) > 0:
            raise ValueError("it has to be half of LEASE_SECONDS at most: else nobody leads between two renewals")
        return seconds

    def own_namespace(self) -> str:
        """Tell where the Lease lives."""
        if self.lease_namespace:
            return self.lease_namespace
        return _OWN_NAMESPACE_FILE.read_text().strip() if _OWN_NAMESPACE_FILE.exists() else "default"


def new_identity() -> str:
    """Name this process in the Lease: the pod's name, and what tells it from the one before."""
    return f"{socket.gethostname()}_{os.urandom(4).hex()}"


def load_settings() -> OperatorSettings:
    """Read the settings from the environment.

    Raises:
        SystemExit: With code 2, after a line on stderr for each wrong variable. Values are never printed.
    """
    try:
        return OperatorSettings()
    except ValidationError as error:
        sys.stderr.write("The settings are not right:\n")
        for wrong in error.errors(include_input=False, include_url=False):
            name = "_".join(str(part) for part in wrong["loc"][:1]).upper()
            sys.stderr.write(f"  TRADEFLOW_OPERATOR_{name} is wrong: {wrong['msg']}\n")
    raise SystemExit(EXIT_CODE_OF_WRONG_SETTINGS)
