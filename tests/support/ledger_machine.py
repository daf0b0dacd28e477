"""Random lives of a small book: each command is judged by a model that shares nothing with the ledger's rules.

A subclass says what runs the commands: the pure rules at once, or a committer on a real database in batches.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec import structs

from services.ledger.commands.command import Command
from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.commands.shape import KeyedCommand
from services.ledger.domain.account import Account
from services.ledger.domain.hold import Hold
from services.ledger.domain.receipt import Receipt
from services.money import Money
from services.runtime.errors import KeyReusedError, RefusedError, RejectedError, TradeFlowError
from tests.support.ledger_commands import (
    NOW,
    an_id,
    capture,
    commit,
    deposit,
    leg,
    open_account,
    refund,
    reserve,
    reverse,
    set_limit,
    transfer,
    void,
    withdraw,
)
from tests.support.ledger_model import OK, Model, ModelEntry, Place, owed, system, wallet
from tests.support.ledger_places import PEOPLE, place_of, reference_of

people = st.sampled_from(PEOPLE)
currencies = st.sampled_from(("EUR", "EUR", "JPY"))
ROLLS = st.integers(0, 7)
amounts = st.integers(1, 60)
rates = st.sampled_from((0, 250, 3_333, 10_000))
days_away = st.sampled_from((None, None, -1, -3, 1))
"""Days from now to an effective date: none, behind, or ahead, which is refused."""

UNKNOWN_SEQUENCE = 10**6
"""A record that never is."""

Verb = Callable[[Model], str]


@dataclass
class Step:
    """A command on its way, and what the model says of it."""

    command: Command
    expected: str
    entry: ModelEntry
    clock: datetime


def has_active_holds(machine: "LedgerMachine") -> bool:
    """Tell whether captures make sense."""
    return any(hold.left for hold in machine.model.holds.values())


class LedgerMachine(RuleBasedStateMachine):
    """Runs each command on the book and on the model."""

    batch_commands_max = 1
    """How many commands wait for each other before they are run."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.clock = NOW
        self.waiting: list[Step] = []
        self.dated: list[tuple[datetime, Place, int]] = []
        self.history: list[tuple[datetime, Command, Receipt | TradeFlowError]] = []

    def run(self, commands: Sequence[Command]) -> list[Receipt | TradeFlowError]:
        """Run commands as one batch, if they can be one."""
        raise NotImplementedError

    def pass_time(self, until: datetime) -> None:
        """Move the book's clock."""
        raise NotImplementedError

    def accounts(self) -> list[Account]:
        """Read all accounts."""
        raise NotImplementedError

    def holds(self) -> list[Hold]:
        """Read all holds."""
        raise NotImplementedError

    def expect(self, command: Command, judge: Verb) -> None:
        """Let a command be run, every third one in a dry run first; its answer must be the model's."""
        if isinstance(command, KeyedCommand) and (len(self.history) + len(self.waiting)) % 3 == 0:
            rehearsal = judge(deepcopy(self.model))
            self.waiting.append(Step(structs.replace(command, dry_run=True), rehearsal, ModelEntry(), self.clock))
        expected = judge(self.model)
        effective_at = getattr(command, "effective_at", None)
        if effective_at is not None and expected == OK:
            self.dated += [(effective_at, *move) for move in self.model.newest.moves]
        self.waiting.append(Step(command, expected, self.model.newest, self.clock))
        if len(self.waiting) >= self.batch_commands_max:
            self.settle()

    def settle(self) -> None:
        """Run what waits, and compare the answers and the book."""
        if not self.waiting:
            return
        steps, self.waiting = self.waiting, []
        answers = self.run([step.command for step in steps])
        for step, answer in zip(steps, answers, strict=True):
            self.history.append((step.clock, step.command, answer))
            found = OK if isinstance(answer, Receipt) else answer.reason
            assert found == step.expected, (step.command, found, step.expected)
            if isinstance(answer, Receipt):
                dry = isinstance(step.command, KeyedCommand) and step.command.dry_run
                assert (answer.dry_run, answer.replayed) == (dry, False)
                if answer.journal_sequence:
                    assert not dry
                    self.model.journal[answer.journal_sequence] = step.entry
        self.compare()

    def compare(self) -> None:
        """The book is as the model says."""
        places: dict[Place, tuple[int, int, int]] = {}
        for account in self.accounts():
            place = place_of(account.code)
            limit = account.overdraft_limit if account.wallet_id else 0
            places[place] = (account.balance_minor, account.pending_outgoing_minor, limit)
        model = self.model
        assert places == {
            place: (model.money[place], model.pending(place), model.limits[place]) for place in model.open
        }
        assert {
            hold.hold_id: (hold.state.value, hold.remaining_minor, hold.captured_minor, hold.refunded_minor)
            for hold in self.holds()
        } == {an_id(name): (hold.state, hold.left, hold.captured, hold.refunded) for name, hold in model.holds.items()}

    def draw_hold(self, data: st.DataObject, *states: str) -> str:
        """Choose a hold: mostly one in these states, sometimes any, sometimes one that never was."""
        fitting = [name for name, hold in self.model.holds.items() if hold.state in states]
        # Hypothesis prefers small numbers and early choices: the right ones stand first.
        anything = [f"hold-{len(self.model.holds)}", *self.model.holds]
        return str(data.draw(st.sampled_from(fitting if fitting and data.draw(ROLLS) < 7 else anything)))

    def draw_owner(self, data: st.DataObject, hold: str) -> str:
        """Choose the wallet that a command names: mostly the right one."""
        known = self.model.holds.get(hold)
        stranger = data.draw(people)
        return known.owner if known is not None and data.draw(ROLLS) < 7 else stranger

    def effective_at(self, days: int | None) -> datetime | None:
        """Tell an effective date."""
        return None if days is None else self.clock + timedelta(days=days)

    @initialize(amount=st.integers(50, 200))
    def begin(self, amount: int) -> None:
        self.deposit("ann", amount, None)
        self.deposit("bob", amount, None)
        now = self.clock
        self.expect(
            reserve("hold-0", amount, an_id("ann")), lambda model: model.reserve("hold-0", "ann", amount, now, None)
        )

    @rule(owner=people, currency=currencies)
    def open_account(self, owner: str, currency: str) -> None:
        self.expect(open_account(an_id(owner), currency), lambda model: model.open_account(owner, currency))

    @rule(owner=people, amount=amounts, days=days_away)
    def deposit(self, owner: str, amount: int, days: int | None) -> None:
        command = deposit(an_id(owner), amount, effective_at=self.effective_at(days), metadata={"days": str(days)})
        self.expect(command, lambda model: model.deposit(owner, amount, ahead=days == 1))

    @rule(owner=people, amount=amounts, days=days_away)
    def withdraw(self, owner: str, amount: int, days: int | None) -> None:
        command = withdraw(an_id(owner), amount, effective_at=self.effective_at(days), note="out")
        self.expect(command, lambda model: model.withdraw(owner, amount, ahead=days == 1))

    def move(self, moves: list[tuple[Place, int]], days: int | None = None) -> None:
        """Transfer."""
        legs = [leg(reference_of(place), Money(amount, place[2])) for place, amount in moves]
        command = transfer(*legs, effective_at=self.effective_at(days))
        self.expect(command, lambda model: model.transfer(moves, ahead=days == 1))

    @rule(payer=people, parts=st.dictionaries(people, amounts, min_size=1), tip=st.integers(0, 3), days=days_away)
    def transfer(self, payer: str, parts: dict[str, int], tip: int, days: int | None) -> None:
        parts = {owner: part for owner, part in parts.items() if owner != payer} or {PEOPLE[0]: 1}
        payer = payer if payer not in parts else PEOPLE[1]
        moves = [(wallet(payer), -sum(parts.values()) - tip), *[(wallet(owner), part) for owner, part in parts.items()]]
        self.move(moves + ([(system("revenue"), tip)] if tip else []), days)

    @rule(payer=people, receiver=people, amount=amounts, factor=st.integers(1, 9), back=st.booleans())
    def exchange(self, payer: str, receiver: str, amount: int, factor: int, *, back: bool) -> None:
        paid, received = ("JPY", "EUR") if back else ("EUR", "JPY")
        bought = max(1, amount // factor) if back else amount * factor
        self.move(
            [
                (wallet(payer, paid), -amount),
                (system("exchange", paid), amount),
                (system("exchange", received), -bought),
                (wallet(receiver, received), bought),
            ]
        )

    @rule(owner=people, beyond=st.sampled_from((0, 1, -1)))
    def pay_off(self, owner: str, beyond: int) -> None:
        amount = max(1, -self.model.money[owed(owner)] + beyond)
        self.deposit(owner, amount, None)
        self.move([(wallet(owner), -amount), (owed(owner), amount)])

    @rule(owner=people, currency=currencies, limit=st.integers(0, 80), beyond=st.sampled_from((None, 0, -1)))
    def set_limit(self, owner: str, currency: str, limit: int, beyond: int | None) -> None:
        place = wallet(owner, currency)
        in_use = self.model.pending(place) - self.model.money[place]
        if beyond is not None and in_use > 0:
            limit = in_use + beyond
        self.expect(set_limit(an_id(owner), limit, currency), lambda model: model.set_limit(owner, currency, limit))

    @rule(data=st.data(), charge=st.booleans())
    def reverse(self, data: st.DataObject, *, charge: bool) -> None:
        self.settle()
        moved = [number for number, entry in self.model.journal.items() if entry.moves or entry.capture]
        anything = [UNKNOWN_SEQUENCE, *self.model.journal]
        sequence = data.draw(st.sampled_from(moved if moved and data.draw(ROLLS) < 7 else anything))
        command = reverse(sequence, shortfall_to_receivable=charge)
        self.expect(command, lambda model: model.reverse(sequence, charge=charge))

    @rule(data=st.data(), owner=people, amount=amounts, minutes=st.one_of(st.none(), st.integers(0, 10)))
    def reserve(self, data: st.DataObject, owner: str, amount: int, minutes: int | None) -> None:
        hold = f"hold-{len(self.model.holds)}" if data.draw(ROLLS) < 7 else self.draw_hold(data)
        expires_at = None if minutes is None else self.clock + timedelta(minutes=minutes)
        now = self.clock
        command = (
            reserve(hold, amount, an_id(owner))
            if expires_at is None
            else reserve(hold, amount, an_id(owner), expires_at=expires_at)
        )
        self.expect(command, lambda model: model.reserve(hold, owner, amount, now, expires_at))

    @precondition(has_active_holds)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        hold = self.draw_hold(data, "open", "committed")
        owner, now = self.draw_owner(data, hold), self.clock
        self.expect(commit(hold, an_id(owner)), lambda model: model.commit(hold, owner, now))

    @precondition(has_active_holds)
    @rule(data=st.data(), rate=rates, final=st.booleans(), report=st.booleans())
    def capture(self, data: st.DataObject, rate: int, *, final: bool, report: bool) -> None:
        hold = self.draw_hold(data, "open", "committed")
        owner, now = self.draw_owner(data, hold), self.clock
        known = self.model.holds.get(hold)
        share = st.integers(1, max(1, (known.left if known is not None else 10) // 2))
        parts = data.draw(st.dictionaries(people, share, min_size=1, max_size=2))
        made = {number for number, _ in known.legs} if known is not None else set()
        number = data.draw(st.sampled_from([*[len(made) + 1] * 8, *made]))
        sellers = {an_id(seller): gross for seller, gross in parts.items()}
        command = capture(hold, sellers, an_id(owner), fee=rate, number=number, final=final, report_refusal=report)
        self.expect(command, lambda model: model.capture(hold, owner, number, parts, rate, now, final=final))

    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        hold = self.draw_hold(data, "open", "committed")
        owner = self.draw_owner(data, hold)
        self.expect(void(hold, an_id(owner)), lambda model: model.void(hold, owner))

    @precondition(has_active_holds)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        hold, now = self.draw_hold(data, "open"), self.clock
        self.expect(ExpireHold(hold_id=an_id(hold)), lambda model: model.expire(hold, now))

    @precondition(lambda self: any(hold.legs for hold in self.model.holds.values()))
    @rule(data=st.data(), charge=st.booleans())
    def refund(self, data: st.DataObject, *, charge: bool) -> None:
        hold = data.draw(st.sampled_from([name for name, hold in self.model.holds.items() if hold.legs]))
        owner = self.draw_owner(data, hold)
        number = data.draw(st.sampled_from([*{number for number, _ in self.model.holds[hold].legs}, 99]))
        parts = {
            seller: data.draw(st.integers(1, leg.gross - leg.refunded + 1))
            for seller, leg in self.model.holds[hold].of(number).items()
            if data.draw(ROLLS) < 5
        } or {data.draw(people): 1}
        sellers = {an_id(seller): gross for seller, gross in parts.items()}
        command = refund(hold, sellers, an_id(owner), number=number, shortfall_to_receivable=charge)
        self.expect(command, lambda model: model.refund(hold, owner, number, parts, charge=charge))

    @rule(
        seller=people,
        parts=st.lists(st.integers(1, 99), min_size=2, max_size=4),
        rate=rates,
        back=st.integers(1, 99),
        ending=st.sampled_from(("expires", "reversed", "owing")),
    )
    def sell_in_parts(self, seller: str, parts: list[int], rate: int, back: int, ending: str) -> None:
        """Walk the happy path, which random steps seldom reach the end of."""
        hold, total, bob = f"hold-{len(self.model.holds)}", sum(parts) + 1, an_id("bob")
        self.deposit("bob", total, None)
        now, expires_at = self.clock, self.clock + timedelta(days=1)
        self.expect(
            reserve(hold, total, bob, expires_at=expires_at),
            lambda model: model.reserve(hold, "bob", total, now, expires_at),
        )
        for number, part in enumerate(parts, start=1):
            self.capture_part(hold, number, seller, part, rate)
        for piece in (min(back, parts[0]), parts[0] - min(back, parts[0])):
            if piece:
                self.refund_part(hold, seller, piece, charge=False)
        if ending == "expires":
            self.tell_time(self.clock + timedelta(days=1))
            later = self.clock
            self.expect(ExpireHold(hold_id=an_id(hold)), lambda model: model.expire(hold, later))
        elif ending == "owing":
            spare = self.model.available(wallet(seller))
            if spare > 0:
                self.withdraw(seller, spare, None)
            self.refund_part(hold, seller, parts[1], number=2, charge=True)
            self.pay_off(seller, 1)
            self.pay_off(seller, 0)
        else:
            self.settle()
            captured = next(number for number, entry in self.model.journal.items() if entry.capture == (hold, 2))
            for _ in range(2):
                self.expect(reverse(captured), lambda model: model.reverse(captured, charge=False))
            self.refund_part(hold, seller, 1, number=2, charge=False)

    def capture_part(self, hold: str, number: int, seller: str, part: int, rate: int) -> None:
        """Capture for one seller."""
        now = self.clock
        self.expect(
            capture(hold, {an_id(seller): part}, an_id("bob"), fee=rate, number=number),
            lambda model: model.capture(hold, "bob", number, {seller: part}, rate, now, final=False),
        )

    def refund_part(self, hold: str, seller: str, part: int, *, number: int = 1, charge: bool) -> None:
        """Refund of one seller."""
        command = refund(hold, {an_id(seller): part}, an_id("bob"), number=number, shortfall_to_receivable=charge)
        self.expect(command, lambda model: model.refund(hold, "bob", number, {seller: part}, charge=charge))

    def tell_time(self, until: datetime) -> None:
        """Move the clock, once everything before is done."""
        self.settle()
        self.clock = until
        self.pass_time(until)

    @rule(minutes=st.integers(-3, 6))
    def time_passes(self, minutes: int) -> None:
        self.tell_time(self.clock + timedelta(minutes=minutes))

    @precondition(lambda self: self.history)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Invariant 4: the same key gets the same answer, and other content under it is refused."""
        self.settle()
        _, command, first = data.draw(st.sampled_from(self.history))
        if not isinstance(command, KeyedCommand) or command.dry_run or not isinstance(first, Receipt | RefusedError):
            return
        other = deposit(an_id("ann"), 1_000, idempotency_key=command.idempotency_key)

        again, reused = self.run([command, other])

        if isinstance(first, Receipt):
            assert isinstance(again, Receipt)
            assert structs.replace(again, hold=first.hold) == structs.replace(first, replayed=True)
        else:
            assert isinstance(again, RejectedError)
            assert (type(again), again.reason, again.details) == (type(first), first.reason, first.details)
        assert isinstance(reused, KeyReusedError)
        self.compare()
