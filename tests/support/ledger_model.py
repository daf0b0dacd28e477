"""The ledger as a child would write it: no hashes, no rows, only what must come out. It judges the real rules.

It imports none of them. Money is credits less debits of accounts that are plain tuples, such as
("wallet", "ann", "EUR"), ("system", "funding", "EUR") or ("owed", "ann", "EUR").
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from math import floor

OK = "ok"

EURO = "EUR"

JUDGED_ANEW = frozenset(
    {
        "allocations_mismatch",
        "capture_exists",
        "capture_not_found",
        "effective_in_the_future",
        "hold_exists",
        "hold_not_due",
        "hold_not_found",
        "not_hold_owner",
        "record_not_found",
    }
)
"""Refusals that are no answer for good: the same call may succeed later."""

Place = tuple[str, str, str]
"""An account: its kind, its owner or purpose, its asset."""


def wallet(owner: str, currency: str = EURO) -> Place:
    """Name a wallet's account."""
    return ("wallet", owner, currency)


def system(purpose: str, currency: str = EURO) -> Place:
    """Name one of the platform's own accounts."""
    return ("system", purpose, currency)


def owed(owner: str, currency: str = EURO) -> Place:
    """Name the account of what somebody owes the platform: the more, the further below zero."""
    return ("owed", owner, currency)


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
    """A hold in euros; `owner` is who voided it on a tombstone."""

    owner: str
    state: str
    left: int = 0
    captured: int = 0
    refunded: int = 0
    expires_at: datetime | None = None
    legs: dict[tuple[int, str], ModelLeg] = field(default_factory=dict)
    reversed: set[int] = field(default_factory=set)

    def of(self, number: int) -> dict[str, ModelLeg]:
        """Find what sellers got of one capture."""
        return {seller: leg for (made, seller), leg in self.legs.items() if made == number}


@dataclass
class ModelEntry:
    """What a record did: `moves` if the opposite undoes it, `capture` if a refund does, neither if nothing does."""

    moves: tuple[tuple[Place, int], ...] = ()
    capture: tuple[str, int] | None = None
    undone: bool = False


class Model:
    """Each verb answers "ok" or a reason. `now` is the ledger's time, that the caller tells."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.money: Counter[Place] = Counter()
        self.open: set[Place] = set()
        self.limits: Counter[Place] = Counter()
        self.holds: dict[str, ModelHold] = {}
        self.journal: dict[int, ModelEntry] = {}
        self.newest = ModelEntry()

    def note(self, sequence: int) -> None:
        """Remember by which record the newest command took effect."""
        self.journal[sequence] = self.newest

    def pending(self, place: Place) -> int:
        """Sum what a wallet's holds have left."""
        return sum(hold.left for hold in self.holds.values() if wallet(hold.owner) == place)

    def available(self, place: Place) -> int:
        """Tell what a wallet may spend."""
        return self.money[place] - self.pending(place) + self.limits[place]

    def open_account(self, owner: str, currency: str) -> str:
        """Open an account."""
        self.newest = ModelEntry()
        self.open.add(wallet(owner, currency))
        return OK

    def deposit(self, owner: str, amount: int, *, ahead: bool = False) -> str:
        """Bring money in."""
        if ahead:
            return "effective_in_the_future"
        return self._move([(system("funding"), -amount), (wallet(owner), amount)])

    def withdraw(self, owner: str, amount: int, *, ahead: bool = False) -> str:
        """Take money out."""
        if wallet(owner) not in self.open:
            return "account_not_open"
        if ahead:
            return "effective_in_the_future"
        moves = [(wallet(owner), -amount), (system("funding"), amount)]
        return self._lack(moves) or self._move(moves)

    def transfer(self, moves: list[tuple[Place, int]], *, ahead: bool = False) -> str:
        """Move money about."""
        for place, amount in moves:
            takes = {"wallet": amount < 0, "owed": amount > 0, "system": False}[place[0]]
            if takes and place not in self.open:
                return "account_not_open"
        if ahead:
            return "effective_in_the_future"
        return self._lack(moves) or self._move(moves)

    def set_limit(self, owner: str, currency: str, limit: int) -> str:
        """Lend."""
        place = wallet(owner, currency)
        if self.money[place] - self.pending(place) + limit < 0:
            return "limit_in_use"
        self.newest = ModelEntry()
        self.open.add(place)
        self.limits[place] = limit
        return OK

    def reverse(self, sequence: int, *, charge: bool) -> str:
        """Undo."""
        if sequence not in self.journal:
            return "record_not_found"
        entry = self.journal[sequence]
        if not entry.moves and entry.capture is None:
            return "not_reversible"
        if entry.undone:
            return "already_reversed"
        answer = self._undo_capture(*entry.capture, charge=charge) if entry.capture else self._undo_moves(entry)
        if answer == OK:
            entry.undone = True
            self.newest = ModelEntry()
        return answer

    def reserve(self, name: str, owner: str, amount: int, now: datetime, expires_at: datetime | None) -> str:
        """Set money aside; for good without an expiry."""
        if name in self.holds:
            return "hold_voided" if self.holds[name].state == "tombstone" else "hold_exists"
        if wallet(owner) not in self.open:
            return "account_not_open"
        if expires_at is not None and expires_at <= now:
            return "expiry_in_the_past"
        if self.available(wallet(owner)) < amount:
            return "insufficient_funds"
        state = "committed" if expires_at is None else "open"
        self.newest = ModelEntry()
        self.holds[name] = ModelHold(owner, state, left=amount, expires_at=expires_at)
        return OK

    def commit(self, name: str, owner: str, now: datetime) -> str:
        """Make a hold permanent."""
        refusal = self._foreign(name, owner)
        if refusal:
            return refusal
        hold = self.holds[name]
        if hold.state == "committed":
            return OK
        if hold.state != "open":
            return "hold_closed"
        if self._is_due(hold, now):
            return "hold_expired"
        self.newest = ModelEntry()
        hold.state = "committed"
        return OK

    def capture(
        self, name: str, owner: str, number: int, parts: dict[str, int], rate: int, now: datetime, *, final: bool
    ) -> str:
        """Pay sellers."""
        refusal = self._foreign(name, owner)
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
        self.newest = ModelEntry(capture=(name, number))
        return OK

    def void(self, name: str, owner: str) -> str:
        """Release, or bury."""
        if name not in self.holds:
            self.newest = ModelEntry()
            self.holds[name] = ModelHold(owner, "tombstone")
            return OK
        hold = self.holds[name]
        if hold.owner != owner:
            return "not_hold_owner"
        if hold.state == "captured":
            return "hold_captured"
        if hold.state in ("open", "committed"):
            self.newest = ModelEntry()
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
            self.newest = ModelEntry()
            self._close(hold, "expired")
        return OK

    def refund(self, name: str, owner: str, number: int, parts: dict[str, int], *, charge: bool) -> str:
        """Give back; what a seller lacks is charged if the caller says so."""
        hold = self.holds.get(name)
        if hold is None or not hold.of(number):
            return "capture_not_found"
        if hold.owner != owner:
            return "not_hold_owner"
        if number in hold.reversed:
            return "capture_reversed"
        for seller, gross in parts.items():
            leg = hold.legs.get((number, seller))
            if leg is None or gross > leg.gross - leg.refunded:
                return "exceeds_capture"
        return self._give_back(hold, number, parts, charge=charge)

    def _give_back(self, hold: ModelHold, number: int, parts: dict[str, int], *, charge: bool) -> str:
        nets: dict[str, tuple[int, int, int]] = {}
        for seller, gross in parts.items():
            leg = hold.legs[number, seller]
            fee_back = floor(Fraction(leg.fee, leg.gross) * (leg.refunded + gross)) - leg.fee_back
            lacks = max(0, gross - fee_back - self.available(wallet(seller)))
            nets[seller] = (gross - fee_back, fee_back, lacks)
        if not charge and any(lacks for _, _, lacks in nets.values()):
            return "insufficient_funds"
        for seller, (net, fee_back, lacks) in nets.items():
            leg = hold.legs[number, seller]
            leg.refunded += parts[seller]
            leg.fee_back += fee_back
            hold.refunded += parts[seller]
            self._post(wallet(seller), lacks - net)
            if lacks:
                self._post(owed(seller), -lacks)
            self._post(system("revenue"), -fee_back)
            self._post(wallet(hold.owner), parts[seller])
        self.newest = ModelEntry()
        return OK

    def _undo_capture(self, name: str, number: int, *, charge: bool) -> str:
        hold = self.holds[name]
        left = {seller: leg.gross - leg.refunded for seller, leg in hold.of(number).items() if leg.refunded < leg.gross}
        if not left:
            return "already_reversed"
        answer = self._give_back(hold, number, left, charge=charge)
        if answer == OK:
            hold.reversed.add(number)
        return answer

    def _undo_moves(self, entry: ModelEntry) -> str:
        opposite = [(place, -amount) for place, amount in entry.moves]
        return self._lack(opposite) or self._move(opposite)

    def _lack(self, moves: Iterable[tuple[Place, int]]) -> str:
        """Name what the first payer lacks."""
        for place, amount in moves:
            if place[0] == "wallet" and amount < 0 and self.available(place) < -amount:
                return "insufficient_funds"
            if place[0] == "owed" and amount > 0 and -self.money[place] < amount:
                return "exceeds_receivable"
        return ""

    def _move(self, moves: Iterable[tuple[Place, int]]) -> str:
        self.newest = ModelEntry(moves=tuple(moves))
        for place, amount in self.newest.moves:
            self._post(place, amount)
        return OK

    def _post(self, place: Place, amount: int) -> None:
        self.open.add(place)
        self.money[place] += amount

    def _pay(self, hold: ModelHold, number: int, seller: str, gross: int, rate: int) -> None:
        same = [leg for (_, paid), leg in hold.legs.items() if paid == seller and leg.rate == rate]
        whole = floor(Fraction(rate, 10_000) * (sum(leg.gross for leg in same) + gross))
        fee = whole - sum(leg.fee for leg in same)
        hold.legs[number, seller] = ModelLeg(gross, fee, rate)
        hold.left -= gross
        hold.captured += gross
        self._post(wallet(hold.owner), -gross)
        self._post(wallet(seller), gross - fee)
        self._post(system("revenue"), fee)

    def _foreign(self, name: str, owner: str) -> str:
        if name not in self.holds:
            return "hold_not_found"
        return "" if self.holds[name].owner == owner else "not_hold_owner"

    def _is_due(self, hold: ModelHold, now: datetime) -> bool:
        return hold.state == "open" and hold.expires_at is not None and hold.expires_at <= now

    def _close(self, hold: ModelHold, state: str) -> None:
        hold.left = 0
        hold.state = "captured" if hold.captured else state
