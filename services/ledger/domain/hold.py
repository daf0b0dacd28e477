"""Holds: money set aside for one purpose, usually one order.

A hold is OPEN (it expires) or COMMITTED (it never does), and ends as CAPTURED, VOIDED or EXPIRED. Captures may come in
parts. captured + voided + remaining = held, always.
"""

from datetime import datetime
from enum import Enum
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from services.ledger.domain.refusals import ExceedsCaptureError, ExceedsHoldError, HoldClosedError


class HoldState(Enum):
    """The life of a hold."""

    OPEN = "open"
    """Money is held and the hold ends by itself at `expires_at`."""
    COMMITTED = "committed"
    """Money is held and stays held until captures or a void release it."""
    CAPTURED = "captured"
    """All of it was captured, or a part was and the rest was released."""
    VOIDED = "voided"
    """Released without any capture."""
    EXPIRED = "expired"
    """Released without any capture because nobody committed it in time."""
    TOMBSTONE = "tombstone"
    """Never existed and never will: a void came first."""


HOLD_TRANSITIONS: dict[HoldState, frozenset[HoldState]] = {
    # A partial capture leaves an open hold open and a committed one committed.
    HoldState.OPEN: frozenset(
        {HoldState.OPEN, HoldState.COMMITTED, HoldState.CAPTURED, HoldState.VOIDED, HoldState.EXPIRED}
    ),
    HoldState.COMMITTED: frozenset({HoldState.COMMITTED, HoldState.CAPTURED, HoldState.VOIDED}),
    HoldState.CAPTURED: frozenset(),
    HoldState.VOIDED: frozenset(),
    HoldState.EXPIRED: frozenset(),
    HoldState.TOMBSTONE: frozenset(),
}
"""Which state may follow which; all else is refused."""


class Hold(Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """One hold; amounts in minor units of `currency`.

    `expires_at` is None once the hold no longer expires. `last_sequence` is the journal record that last changed it.
    A tombstone has account 0 and no currency.
    """

    hold_id: UUID
    service: str
    wallet_id: UUID
    account_id: int
    currency: str
    state: HoldState
    held_minor: int
    captured_minor: int = 0
    voided_minor: int = 0
    refunded_minor: int = 0
    expires_at: datetime | None = None
    last_sequence: int

    @property
    def remaining_minor(self) -> int:
        """What captures may still take."""
        return self.held_minor - self.captured_minor - self.voided_minor

    @property
    def is_active(self) -> bool:
        """Tell whether captures are possible."""
        return self.state is HoldState.OPEN or self.state is HoldState.COMMITTED

    def is_due(self, now: datetime) -> bool:
        """Tell whether an open hold's time has come."""
        return self.state is HoldState.OPEN and self.expires_at is not None and now >= self.expires_at

    def commit(self, sequence: int) -> "Hold":
        """Make it permanent."""
        return self._become(HoldState.COMMITTED, sequence)

    def capture(self, amount_minor: int, sequence: int, *, final: bool) -> "Hold":
        """Take a part of what remains, and release the rest if `final`.

        Raises:
            ExceedsHoldError: More than what remains.
        """
        remaining = self.remaining_minor - amount_minor
        if remaining < 0:
            raise ExceedsHoldError(
                f"{amount_minor} minor units were asked and {self.remaining_minor} remain.",
                details={"remaining_minor": str(self.remaining_minor)},
            )
        state = HoldState.CAPTURED if final or remaining == 0 else self.state
        return self._become(
            state,
            sequence,
            captured_minor=self.captured_minor + amount_minor,
            voided_minor=self.voided_minor + (remaining if final else 0),
        )

    def void(self, sequence: int) -> "Hold":
        """Release what remains."""
        return self._release(HoldState.VOIDED, sequence)

    def expire(self, sequence: int) -> "Hold":
        """Release what remains because time ran out."""
        return self._release(HoldState.EXPIRED, sequence)

    def refund(self, amount_minor: int, sequence: int) -> "Hold":
        """Count what went back of the captured part; the state stays.

        Raises:
            ExceedsCaptureError: More than captured and not yet given back.
        """
        refunded = self.refunded_minor + amount_minor
        if refunded > self.captured_minor:
            raise ExceedsCaptureError(f"{self.captured_minor - self.refunded_minor} minor units can go back.")
        return replace(self, refunded_minor=refunded, last_sequence=sequence)

    def _release(self, state: HoldState, sequence: int) -> "Hold":
        # A hold that paid something is CAPTURED, however its rest was released.
        return self._become(
            HoldState.CAPTURED if self.captured_minor else state,
            sequence,
            voided_minor=self.voided_minor + self.remaining_minor,
        )

    def _become(
        self,
        state: HoldState,
        sequence: int,
        *,
        captured_minor: int | None = None,
        voided_minor: int | None = None,
    ) -> "Hold":
        """Take the next state, if the table allows it.

        Raises:
            HoldClosedError: The table has no such transition.
        """
        if state not in HOLD_TRANSITIONS[self.state]:
            raise HoldClosedError(f"The hold is {self.state.value}.", details={"state": self.state.value})
        return replace(
            self,
            state=state,
            captured_minor=self.captured_minor if captured_minor is None else captured_minor,
            voided_minor=self.voided_minor if voided_minor is None else voided_minor,
            expires_at=self.expires_at if state is HoldState.OPEN else None,
            last_sequence=sequence,
        )


def tombstone(*, hold_id: UUID, service: str, wallet_id: UUID, sequence: int) -> Hold:
    """Make the mark that a void leaves when it comes before its reserve."""
    return Hold(
        hold_id=hold_id,
        service=service,
        wallet_id=wallet_id,
        account_id=0,
        currency="",
        state=HoldState.TOMBSTONE,
        held_minor=0,
        last_sequence=sequence,
    )
