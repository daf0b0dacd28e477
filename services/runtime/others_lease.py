"""How long somebody else's lease is waited for: until its end, and no longer than its holder gives signs of life.

A lease's end is written by its holder's clock. One that was ahead, as clocks are before they are set, would otherwise
keep everybody waiting for as long, once its holder has died.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.runtime.clock import EPOCH

SILENCE_MAX = timedelta(seconds=60)
"""How long a holder may give no sign: the longest lease that settings allow, and renewals come within a lease."""


@dataclass(slots=True)
class OthersLease:
    """What one waiting process saw of a lease."""

    _sign: object = None
    _seen_at: datetime = EPOCH

    def lasts(self, sign: object, expires_at: datetime, now: datetime) -> bool:
        """Tell whether to wait for it.

        Args:
            sign: What changes whenever its holder renews it.
            expires_at: When it ends, by the holder's clock.
            now: By the clock of who waits.
        """
        if sign != self._sign or now < self._seen_at:
            self._sign, self._seen_at = sign, now
        return now < min(expires_at, self._seen_at + SILENCE_MAX)
