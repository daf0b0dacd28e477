"""The terms of business that settings decide."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the use cases need to know of the settings.

    `order_lifetime` is how long an order may wait to be confirmed, `unheld_lifetime` how long it may wait for its buyer
    to come back while no money is held for it, `request_lease` how long a request may hold its idempotency key,
    `patience` how long a step may take before the reconciler looks after it.
    """

    fee_basis_points: int
    order_lifetime: timedelta
    unheld_lifetime: timedelta
    request_lease: timedelta
    patience: timedelta


LOOKS_DOUBLED_MAX = 6
"""After so many looks the pause between two stops doubling: far past `LOOK_PAUSE_MAX`, and no overflow."""

LOOK_PAUSE_MAX = timedelta(minutes=1)
"""The longest pause between two looks: what came right meanwhile is seen within a minute, and a look is one call."""


def next_look_at(*, now: datetime, looks: int, expires_at: datetime, patience: timedelta) -> datetime:
    """Tell when to look again at an order that was looked at so often: later each time, but not past its expiry."""
    pause = patience * (1 << min(looks, LOOKS_DOUBLED_MAX))
    later = now + min(pause, max(LOOK_PAUSE_MAX, patience))
    return min(later, expires_at) if expires_at > now else later
