"""The ledger as a child would write it: no journal, no hashes, only what must come out. It judges the real rules."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from math import floor

OK = "ok"


@dataclass
class ModelLeg:
    """What a seller got of a capture."""

    gross: int
    fee: int
    rate: int
    refunded: int = 0
    fee_back: int = 0


@dataclass
class ModelHold:
    """A hold; `owner` is None on a tombstone of somebody unknown."""

    owner: str
    state: str
    left: int = 0
    captured: int = 0
    refunded: int = 0
    expires_at: datetime | None = None
    legs: dict[tuple[int, str], ModelLeg] = field(default_factory=dict)


class Model:
    """Each verb answers "ok" or a reason."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.money: Counter[str] = Counter()
        self.open: set[str] = set()
        self.revenue = 0
        self.holds: dict[str, ModelHold] = {}

    def pending(self, wallet: str) -> int:
        """Sum what a wallet's holds have left."""
        return sum(hold.left for hold in self.holds.values() if hold.owner == wallet)

    def deposit(self, wallet: str, amount: int) -> str:
        """Bring money in."""
        self.open.add(wallet)
        self.money[wallet] += amount
        return OK

    def reserve(self, name: str, wallet: str, amount: int, now: datetime, expires_at: datetime | None) -> str:
        """Set money aside; for good without an expiry."""
        if name in self.holds:
            return "hold_voided" if self.holds[name].state == "tombstone" else "hold_exists"
        if wallet not in self.open:
            return "account_not_open"
        if expires_at is not None and expires_at <= now:
            return "expiry_in_the_past"
        if self.money[wallet] - self.pending(wallet) < amount:
            return "insufficient_funds"
        state = "committed" if expires_at is None else "open"
        self.holds[name] = ModelHold(wallet, state, left=amount, expires_at=expires_at)
        return OK

    def commit(self, name: str, wallet: str, now: datetime) -> str:
        """Make a hold permanent."""
        refusal = self._foreign(name, wallet)
        if refusal:
            return refusal
        hold = self.holds[name]
        if hold.state == "committed":
            return OK
        if hold.state != "open":
            return "hold_closed"
        if self._is_due(hold, now):
            return "hold_expired"
        hold.state = "committed"
        return OK

    def capture(
        self, name: str, wallet: str, number: int, parts: dict[str, int], rate: int, now: datetime, *, final: bool
    ) -> str:
        """Pay sellers."""
        refusal = self._foreign(name, wallet)
        if refusal:
            return refusal
        hold = self.holds[name]
        if hold.state not in ("open", "committed"):
            return "hold_closed"
        if self._is_due(hold, now):
            self._close(hold, "expired")
            return "hold_expired"
        if any(number == made for made, _ in hold.legs):
            return "capture_exists"
        if sum(parts.values()) > hold.left:
            return "exceeds_hold"
        for seller, gross in parts.items():
            self._pay(hold, number, seller, gross, rate)
        if final or hold.left == 0:
            self._close(hold, "captured")
        return OK

    def _pay(self, hold: ModelHold, number: int, seller: str, gross: int, rate: int) -> None:
        same = [leg for (_, paid), leg in hold.legs.items() if paid == seller and leg.rate == rate]
        whole = floor(Fraction(rate, 10_000) * (sum(leg.gross for leg in same) + gross))
        fee = whole - sum(leg.fee for leg in same)
        hold.legs[number, seller] = ModelLeg(gross, fee, rate)
        hold.left -= gross
        hold.captured += gross
        self.open.add(seller)
        self.money[hold.owner] -= gross
        self.money[seller] += gross - fee
        self.revenue += fee

    def void(self, name: str, wallet: str) -> str:
        """Release, or bury."""
        if name not in self.holds:
            self.holds[name] = ModelHold(wallet, "tombstone")
            return OK
        hold = self.holds[name]
        if hold.owner != wallet:
            return "not_hold_owner"
        if hold.state == "captured":
            return "hold_captured"
        if hold.state in ("open", "committed"):
            self._close(hold, "voided")
        return OK

    def expire(self, name: str, now: datetime) -> str:
        """Let time take it."""
        if name not in self.holds:
            return "hold_not_found"
        hold = self.holds[name]
        if hold.state == "open":
            if not self._is_due(hold, now):
                return "hold_not_due"
            self._close(hold, "expired")
        return OK

    def refund(self, name: str, wallet: str, number: int, parts: dict[str, int]) -> str:
        """Give back."""
        hold = self.holds.get(name)
        if hold is None or all(number != made for made, _ in hold.legs):
            return "capture_not_found"
        if hold.owner != wallet:
            return "not_hold_owner"
        nets: dict[str, tuple[int, int]] = {}
        for seller, gross in parts.items():
            leg = hold.legs.get((number, seller))
            if leg is None or gross > leg.gross - leg.refunded:
                return "exceeds_capture"
            fee_back = floor(Fraction(leg.fee, leg.gross) * (leg.refunded + gross)) - leg.fee_back
            nets[seller] = (gross - fee_back, fee_back)
        if any(self.money[seller] - self.pending(seller) < net for seller, (net, _) in nets.items()):
            return "insufficient_funds"
        for seller, gross in parts.items():
            net, fee_back = nets[seller]
            leg = hold.legs[number, seller]
            leg.refunded += gross
            leg.fee_back += fee_back
            hold.refunded += gross
            self.money[seller] -= net
            self.revenue -= fee_back
            self.money[hold.owner] += gross
        return OK

    def _foreign(self, name: str, wallet: str) -> str:
        if name not in self.holds:
            return "hold_not_found"
        return "" if self.holds[name].owner == wallet else "not_hold_owner"

    def _is_due(self, hold: ModelHold, now: datetime) -> bool:
        return hold.state == "open" and hold.expires_at is not None and hold.expires_at <= now

    def _close(self, hold: ModelHold, state: str) -> None:
        hold.left = 0
        hold.state = "captured" if hold.captured else state
