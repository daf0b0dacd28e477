"""How often who may do what: values and rules, no IO.

The algorithm is GCRA (generic cell rate algorithm): exactly `limit` calls fit into a burst, and one more comes free
every `window_seconds / limit`. Unlike a fixed window it never lets twice the limit through around a boundary.
"""

from dataclasses import dataclass
from typing import Literal

RouteClass = Literal["auth", "read", "write", "socket"]
"""What a call does: signs in, reads, changes something, or opens a connection for events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePolicy:
    """One limit."""

    name: str
    """Shown in headers and problems: lower-case words joined by hyphens."""
    route_class: RouteClass | Literal["any"]
    per: Literal["user", "ip"]
    """Whose calls are counted together. A policy per user doesn't count calls without a valid token."""
    limit: int
    window_seconds: int

    @property
    def interval_micros(self) -> int:
        """Tell how often one call comes free."""
        return max(1, self.window_seconds * 1_000_000 // self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """One policy, asked for one caller."""

    policy: RatePolicy
    caller: str
    """A user id or an address (an IPv6 network of 64 bits)."""

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


def quotas_of(
    policies: tuple[RatePolicy, ...], *, route_class: RouteClass, user_id: str | None, address: str | None
) -> list[Quota]:
    """Choose the policies that a call falls under; what isn't known, or was counted already, is left out."""
    callers = {"user": user_id, "ip": address}
    chosen = [(policy, callers[policy.per]) for policy in policies if policy.route_class in {"any", route_class}]
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
