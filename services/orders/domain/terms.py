"""The terms of business that settings decide."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the use cases need to know of the settings.

    `order_lifetime` is how long an order may wait to be confirmed, `request_lease` how long a request may hold its
    idempotency key, `patience` how long a step may take before the reconciler looks after it.
    """

    fee_basis_points: int
    order_lifetime: timedelta
    request_lease: timedelta
    patience: timedelta


LOOKS_DOUBLED_MAX = 6
"""After so many looks the pause between two stops doubling: at 64 times the patience."""


def next_look_at(*, now: datetime, looks: int, expires_at: datetime, patience: timedelta) -> datetime:
    """Tell when to look again at an order that was looked at so often: later each time, but not past its expiry."""
    later = now + patience * (1 << min(looks, LOOKS_DOUBLED_MAX))
    return min(later, expires_at) if expires_at > now else later
