"""The rate limits as a document, in a file that may change while the gateway runs.

`rate-limits.json` is what TRADEFLOW_GATEWAY_RATE_LIMITS_FILE names; the operator's RateLimitPolicy writes it through a
ConfigMap, whose mount changes by an atomic swap of a link. Its form, where `limits` replaces all of the settings':

```json
{
  "failure_mode": "open",
  "limits": [
    {"name": "sign-in", "route_class": "auth", "per": "ip", "limit": 60, "window_seconds": 60},
    {"name": "orders", "route_class": "write", "paths": ["/api/v1/orders"], "per": "user", "roles": ["buyer"],
     "limit": 120, "window_seconds": 60, "dry_run": true}
  ]
}
```

`failure_mode` (`open` or `closed`) is the setting's when it is left out. An unknown member, two limits of one name, or
anything else that is wrong, makes the whole file bad: the last good limits stay, `/readyz` has a hint that says what is
wrong, `tradeflow_gateway_rate_limits_file_ok` is 0, and the log has `rate_limits_not_reloaded`. The same holds for a
file that is away. `tradeflow_gateway_rate_limits_file_info` names the SHA-256 of the file whose limits hold.
Counters go by a limit's name: who changes its numbers keeps what was counted, and nobody waits longer than the new
window.
"""

import asyncio
import hashlib
from pathlib import Path
from typing import Annotated, Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from services.gateway.rate_policies import FailureMode, RatePolicy, RateRules, RouteClass
from services.runtime.errors import UnavailableError

logger = structlog.get_logger(__name__)

RELOAD_SECONDS = 2.0
"""How often the file is looked at; the kubelet needs up to a minute to mount a change."""

FILE_BYTES_MAX = 1024 * 1024
"""What a ConfigMap may hold: a larger file is none of ours."""

LIMITS_MAX = 64
"""Each limit that a call falls under is a counter in one script."""

_Mark = tuple[int, int, int]


class RateLimit(BaseModel):
    """One limit, as settings and the file write it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")
    """Shown to callers, and part of the counter's key."""
    route_class: RouteClass | Literal["any"] = "any"
    """What a call does."""
    paths: tuple[Annotated[str, Field(pattern=r"^/[!-~]*$")], ...] = ()
    """Only calls on these paths and on what lies below them; all, when there are none."""
    per: Literal["user", "ip"]
    """Whose calls are counted together; an IPv6 network of 64 bits is one caller."""
    roles: tuple[str, ...] = ()
    """Only callers with one of these roles; `per` is `user` then."""
    limit: int = Field(ge=1, le=1_000_000)
    """Calls that fit into one window; a burst of so many passes."""
    window_seconds: int = Field(ge=1, le=86_400)
    """One more comes free every `window_seconds / limit`."""
    dry_run: bool = False
    """Count, and tell in metrics who would be refused; refuse nobody, and say nothing to callers."""

    def policy(self) -> RatePolicy:
        """Return the rule."""
        return RatePolicy(**self.model_dump())


class RateLimitsDocument(BaseModel):
    """The file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limits: Annotated[tuple[RateLimit, ...], Field(max_length=LIMITS_MAX)]
    failure_mode: FailureMode | None = None

    @field_validator("limits")
    @classmethod
    def _check_names(cls, limits: tuple[RateLimit, ...]) -> tuple[RateLimit, ...]:
        return distinctly_named(limits)


def distinctly_named(limits: tuple[RateLimit, ...]) -> tuple[RateLimit, ...]:
    """Let limits pass whose counters don't meet.

    Raises:
        ValueError: Two have one name, or one asks for roles of addresses.
    """
    if len({limit.name for limit in limits}) != len(limits):
        raise ValueError("two rate limits have the same name")
    if any(limit.roles and limit.per == "ip" for limit in limits):
        raise ValueError("an address has no roles: a limit with roles is per user")
    return limits


class RateLimitsFile:
    """The limits as they are now; without a file, those of the settings for good."""

    def __init__(self, file: Path | None, *, default: RateRules, registry: CollectorRegistry) -> None:
        """Read the file; while it can't be used, `default` holds."""
        self._file = file
        self._default = default
        self._mark: _Mark | None = None
        self._trouble: str | None = None
        self._ok = Gauge(
            "tradeflow_gateway_rate_limits_file_ok",
            "1 when the limits are those of the file, or of the settings without one; else 0",
            registry=registry,
        )
        self._reloads = Counter(
            "tradeflow_gateway_rate_limits_reloads", "Readings of a changed file", ("outcome",), registry=registry
        )
        for outcome in ("ok", "refused"):
            self._reloads.labels(outcome)
        self._info = Gauge(
            "tradeflow_gateway_rate_limits_file_info",
            "1; the SHA-256 of the file whose limits hold: so that who wrote it sees whether this process has read it",
            ("sha256",),
            registry=registry,
        )
        self._ok.set(1)
        self.current = default
        if file is not None:
            self.reload_if_changed()

    async def watch(self) -> None:
        """Read the file again whenever it changes, until cancelled."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            await asyncio.to_thread(self.reload_if_changed)

    def reload_if_changed(self) -> bool:
        """Read the file again if it changed, and say whether other limits hold now."""
        if self._file is None:
            return False
        try:
            mark = _mark_of(self._file)
            if mark == self._mark:
                return False
            self._mark = mark
            self.current = self._rules_of(self._file)
        except (OSError, ValidationError, ValueError) as error:
            self._refuse(error)
            return False
        self._trouble = None
        self._ok.set(1)
        self._reloads.labels("ok").inc()
        names = [policy.name for policy in self.current.policies]
        logger.info("rate_limits_reloaded", limits=names, failure_mode=self.current.failure_mode)
        return True

    async def check(self) -> None:
        """Fit a hint of readiness.

        Raises:
            UnavailableError: The file can't be used: older limits hold.
        """
        if self._trouble is not None:
            raise UnavailableError(f"older limits hold: {self._trouble}", reason="rate_limits_file_bad")

    def _rules_of(self, file: Path) -> RateRules:
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise ValueError(f"the file has more than {FILE_BYTES_MAX} bytes")
        document = RateLimitsDocument.model_validate_json(content)
        self._info.clear()
        self._info.labels(hashlib.sha256(content).hexdigest()).set(1)
        return RateRules(
            policies=tuple(limit.policy() for limit in document.limits),
            failure_mode=document.failure_mode or self._default.failure_mode,
        )

    def _refuse(self, error: Exception) -> None:
        trouble = _told(error)
        if isinstance(error, OSError):
            self._mark = None
        if trouble == self._trouble:
            return
        self._trouble = trouble
        self._ok.set(0)
        self._reloads.labels("refused").inc()
        logger.warning("rate_limits_not_reloaded", file=str(self._file), error=trouble)


def _mark_of(file: Path) -> _Mark:
    """Tell whether a file changed, without reading it: of what a link leads to."""
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _told(error: Exception) -> str:
    """Say where a file is wrong, in one line."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
