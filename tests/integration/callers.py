"""Callers who move money among ten wallets, ask again, change their minds and go away; all of it follows from names."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol
from uuid import UUID

from msgspec.structs import replace

from services.ledger.commands.command import CallersCommand, Command
from services.ledger.commands.deposit import Deposit
from services.ledger.commands.transfer import Transfer, TransferLeg, WalletRef
from services.ledger.commands.withdraw import Withdraw
from services.ledger.domain.receipt import Receipt
from services.runtime.errors import KeyReusedError, RefusedError, RejectedError, UnavailableError
from tests.support.ledger_commands import an_id, capture, deposit, eur, refund, reserve, void

WALLETS = [an_id(f"wallet {number}") for number in range(10)]
"""Few enough that all callers meet."""

STEPS = 10
"""After so many commands a caller's round begins anew; what isn't named below is a deposit."""

HOLD_STEPS = range(1, 6)
"""A hold's life."""

WITHDRAW_STEP = 6
"""Money leaves."""

TRANSFER_STEPS = range(7, 9)
"""Money moves between wallets."""

BACK_OFF_SECONDS = 0.01
"""How long a caller waits before it asks an absent ledger again."""

SERVICE = "orders"
"""Who all of them are."""


def command_of(caller: str, number: int) -> CallersCommand:
    """Return a caller's command of a number: in any process and at any time the same one."""
    round_, step = divmod(number, STEPS)
    key: dict[str, Any] = {"idempotency_key": f"{caller}/{number}", "service": SERVICE}
    of_round, of_step = _chance(f"{caller}/{round_}"), _chance(f"{caller}/{number}")
    if step in HOLD_STEPS:
        return _about_hold(f"{caller}/{round_}", step, of_round, of_step, key)
    payer, payee = of_round.sample(WALLETS, 2)
    if step in TRANSFER_STEPS:
        return _transfer(payer, payee, of_step.randint(1, 400), key)
    if step == WITHDRAW_STEP:
        return Withdraw(wallet_id=payer, amount=eur(of_step.randint(1, 600)), **key)
    return deposit(payer, of_step.randint(1, 300), **key)


def _about_hold(hold: str, step: int, of_round: Random, of_step: Random, key: dict[str, Any]) -> CallersCommand:
    """Reserve, capture half, refund some of it, capture most of the rest, void what remains."""
    buyer, seller = of_round.sample(WALLETS, 2)
    held = of_round.randint(4, 600)
    half = held // 2
    if step == HOLD_STEPS[0]:
        return reserve(hold, held, buyer, **key)
    if step == HOLD_STEPS[1]:
        return capture(hold, {seller: half}, buyer, **key)
    if step == HOLD_STEPS[2]:
        return refund(hold, {seller: of_step.randint(1, half)}, buyer, **key)
    if step == HOLD_STEPS[3]:
        return capture(hold, {seller: held - half - 1}, buyer, number=2, **key)
    return void(hold, buyer, **key)


def _transfer(payer: UUID, payee: UUID, amount_minor: int, key: dict[str, Any]) -> Transfer:
    legs = (
        TransferLeg(account=WalletRef(wallet_id=payer), amount=eur(-amount_minor)),
        TransferLeg(account=WalletRef(wallet_id=payee), amount=eur(amount_minor)),
    )
    return Transfer(legs=legs, **key)


def _chance(name: str) -> Random:
    return Random(name)  # noqa: S311 - chance that can be repeated is the point


class Submits(Protocol):
    """What callers need of a committer."""

    async def submit(self, command: Command) -> Receipt:
        """Run one command."""
        ...


Answer = Receipt | RejectedError


@dataclass
class Callers:
    """Callers of one or several committers of a book, and what they were told."""

    committers: Sequence[Submits]
    name: str
    count: int = 64
    cancelled_share: float = 0.0
    repeated_share: float = 0.0
    on_answer: Callable[[str, Answer], None] = lambda _key, _answer: None
    answers: dict[str, Answer] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    contradictions: list[str] = field(default_factory=list)
    cancelled: int = 0
    repeated: int = 0
    unavailable: int = 0
    slowest_seconds: float = 0.0

    async def run(self, seconds: float) -> None:
        """Let all of them call for so long; a command that was begun is asked until it is answered, or for a while."""
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._call(f"{self.name}-{number}", until) for number in range(self.count)))
        assert not self.contradictions, self.contradictions[:10]

    def told(self) -> dict[str, int | str]:
        """Return what the book must keep: the sequence of what was accepted, the reason of what it refused for good."""
        return {
            key: answer.journal_sequence if isinstance(answer, Receipt) else answer.reason
            for key, answer in self.answers.items()
            if isinstance(answer, Receipt | RefusedError)
        }

    def accepted(self) -> int:
        """Return how many commands were accepted."""
        return sum(isinstance(answer, Receipt) for answer in self.answers.values())

    async def _call(self, caller: str, until: float) -> None:
        chance, number = _chance(f"{caller}/chance"), 0
        while time.monotonic() < until:
            await self._ask(command_of(caller, number), chance)
            if chance.random() < self.repeated_share:
                self.repeated += 1
                earlier = command_of(caller, chance.randint(0, number))
                await self._ask(earlier, chance)
                await self._ask_otherwise(earlier, chance)
            number += 1

    async def _ask(self, command: CallersCommand, chance: Random) -> None:
        """Ask until there is an answer, each time whichever committer."""
        key = command.idempotency_key
        asking_until = time.monotonic() + 30
        began_at = time.monotonic()
        self.unanswered.add(key)
        while True:
            try:
                answer = await self._submit(command, chance)
            except UnavailableError:
                self.unavailable += 1
                if time.monotonic() > asking_until:
                    raise
                await asyncio.sleep(BACK_OFF_SECONDS)
                continue
            if answer is not None:
                break
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began_at)
        self._note(key, answer)

    async def _submit(self, command: CallersCommand, chance: Random) -> Answer | None:
        """Ask once; None when the caller went away before the answer."""
        task = asyncio.ensure_future(chance.choice(self.committers).submit(command))
        if chance.random() < self.cancelled_share:
            await asyncio.wait({task}, timeout=chance.random() / 50)
            self.cancelled += 1
            task.cancel()
        await asyncio.wait({task})
        if task.cancelled():
            return None
        error = task.exception()
        if isinstance(error, RejectedError):
            return error
        return task.result()

    async def _ask_otherwise(self, command: CallersCommand, chance: Random) -> None:
        """Ask for something else under a key that was answered: it must be refused."""
        if not isinstance(command, Deposit) or not isinstance(self.answers.get(command.idempotency_key), Receipt):
            return
        other = replace(command, amount=eur(command.amount.amount_minor + 1))
        with suppress(UnavailableError):
            answer = await self._submit(other, chance)
            if answer is not None and not isinstance(answer, KeyReusedError):
                self.contradictions.append(f"{command.idempotency_key} with other content: {answer!r}")

    def _note(self, key: str, answer: Answer) -> None:
        self.unanswered.discard(key)
        earlier = self.answers.setdefault(key, answer)
        if earlier is answer:
            self.on_answer(key, answer)
        elif not _agree(earlier, answer):
            self.contradictions.append(f"{key}: first {earlier!r}, then {answer!r}")
        elif isinstance(earlier, RejectedError) and not isinstance(earlier, RefusedError):
            self.answers[key] = answer


def _agree(earlier: Answer, later: Answer) -> bool:
    """Tell whether a second answer may follow the first: refusals that no state decided are judged anew."""
    if isinstance(earlier, Receipt):
        return isinstance(later, Receipt) and later.journal_sequence == earlier.journal_sequence
    if isinstance(earlier, RefusedError):
        return isinstance(later, RefusedError) and later.reason == earlier.reason
    return True
