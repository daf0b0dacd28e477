"""One public route, as the description of the public API tells it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from services.gateway.inbound.public_parameters import QueryParameter


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicRoute:
    """One operation that is proxied."""

    method: Literal["get", "post", "patch", "put", "delete"]
    path: str
    operation_id: str
    tag: str
    summary: str
    description: str | None = None
    """What a caller has to know besides."""
    answer: type | None
    """None: an answer without a body."""
    status: int = 200
    other_answer: type | None = None
    """What is answered instead, as the query asks."""
    body: type | None = None
    path_types: Mapping[str, Any] = field(default_factory=dict)
    """Of parameters in the path that aren't text."""
    query: tuple[QueryParameter, ...] = ()
    has_dry_run: bool = False
    """Whether `dry_run` in the body is answered with 200 and what would happen."""
    idempotent_by_key: bool = False
    needs_token: bool = True
    problems: tuple[str, ...] = ()
    """Refusals of this route alone: the status and the reason."""
