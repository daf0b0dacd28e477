"""How often who may do what: values and rules, no IO.

The algorithm is GCRA (generic cell rate algorithm): exactly `limit` calls fit into a burst, and one more comes free
every `window_seconds / limit`. Unlike a fixed window it never lets twice the limit through around a boundary.
"""

from dataclasses import dataclass
from typing import Literal

RouteClass = Literal["auth", "read", "write", "socket"]
"""What a call does: signs in, reads, changes something (renews a session, too), or opens a connection for events."""

FailureMode = Literal["open", "closed"]
"""What to do with calls that can't be counted, because Redis is away: let them pass, or answer 503."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePolicy:
    """One limit."""

    name: str
    """Shown in headers and problems: lower-case words joined by hyphens."""
    route_class: RouteClass | Literal["any"]
    per: Literal["user", "ip", "account"]
    """Whose calls are counted together. A policy per user doesn't count calls without a valid token; one per account is
    for sign-ins, and nobody else's."""
    limit: int
    window_seconds: int
    paths: tuple[str, ...] = ()
    """Only calls on these paths and below them; all, when there are none."""
    roles: tuple[str, ...] = ()
    """Only users with one of these roles; all callers, when there are none."""
    dry_run: bool = False
    """Counted, and never refused."""

    def covers(self, call: "Call") -> bool:
        """Tell whether a call falls under this, whoever makes it."""
        of_class = self.route_class in {"any", call.route_class}
        on_path = not self.paths or any(_lies_under(call.path, path) for path in self.paths)
        return of_class and on_path and (not self.roles or not call.roles.isdisjoint(self.roles))

    @property
    def interval_micros(self) -> int:
        """Tell how often one call comes free."""
        return max(1, self.window_seconds * 1_000_000 // self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRules:
    """All limits that hold at a time."""

    policies: tuple[RatePolicy, ...]
    failure_mode: FailureMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is counted; what isn't known, or was counted already, is None."""

    route_class: RouteClass
    path: str
    user_id: str | None = None
    roles: frozenset[str] = frozenset()
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """One policy, asked for one caller."""

    policy: RatePolicy
    caller: str
    """A user id, an address (an IPv6 network of 64 bits), or an account as `sign_ins.py` names it."""

    @property
    def name(self) -> str:
        """Name the counter."""
        return f"{self.policy.name}:{self.caller}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaState:
    """What is left of a quota after a call."""

    quota: Quota
    allowed: bool
    remaining: int
    reset_seconds: float
    """Until the quota is whole again."""
    retry_after_seconds: float
    """Until one call fits again; 0 when one fits now."""


def quotas_of(policies: tuple[RatePolicy, ...], call: Call) -> list[Quota]:
    """Choose the policies that a call falls under."""
    callers = {"user": call.user_id, "ip": call.address}
    chosen = [(policy, callers[policy.per]) for policy in policies if policy.covers(call)]
    return [Quota(policy=policy, caller=caller) for policy, caller in chosen if caller is not None]


def policy_header(states: list[QuotaState]) -> str:
    """Write the RateLimit-Policy header.

    Source: draft-ietf-httpapi-ratelimit-headers-10, section 3.
    """
    policies = [state.quota.policy for state in states]
    return ", ".join(f'"{policy.name}";q={policy.limit};w={policy.window_seconds}' for policy in policies)


def limit_header(states: list[QuotaState]) -> str:
    """Write the RateLimit header.

    Source: draft-ietf-httpapi-ratelimit-headers-10, section 4.
    """
    return ", ".join(
        f'"{state.quota.policy.name}";r={state.remaining};t={whole_seconds(state.reset_seconds)}' for state in states
    )


def whole_seconds(seconds: float) -> int:
    """Round up: who waits that long has waited long enough."""
    return int(-(-seconds // 1))


def _lies_under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix.rstrip('/')}/")
