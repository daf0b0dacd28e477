"""Who pays whom: the same transfers for every piece."""

import random
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

ACCOUNTS = 10_000
"""Wallets of a uniform workload."""

FUNDS_MINOR = 10**9
"""What each wallet has at the start, in cents: nobody runs dry within a run."""

AMOUNT_MINOR_MAX = 500
"""The largest transfer, in cents."""

CHUNK = 4096
"""Transfers that are drawn at once: one by one, drawing would cost as much as a ledger's work on them."""

HOT = "hot"
UNIFORM = "uniform"
WORKLOADS = (UNIFORM, HOT)
"""Uniform: any of the wallets pays any other. Hot: one seller receives everything."""


class Transfer(NamedTuple):
    """One payment between two wallets, named by their numbers from 0."""

    payer: int
    payee: int
    amount_minor: int


def transfers(workload: str, seed: int, accounts: int = ACCOUNTS) -> Iterator[Transfer]:
    """Make endless transfers, the same for the same seed."""
    rng = random.Random(f"{workload}:{seed}")  # noqa: S311 - a workload, no secret
    numbers, amounts = range(accounts), range(1, AMOUNT_MINOR_MAX + 1)
    while True:
        payers = rng.choices(numbers, k=CHUNK)
        payees = [0] * CHUNK if workload == HOT else rng.choices(numbers, k=CHUNK)
        for payer, payee, amount_minor in zip(payers, payees, rng.choices(amounts, k=CHUNK), strict=True):
            yield Transfer(payer if payer != payee else (payer + 1) % accounts, payee, amount_minor)


def wallet_id(number: int) -> UUID:
    """Name a wallet: a fixed UUID that looks like any other, since their order decides which rows are neighbours."""
    return UUID(int=random.Random(number).getrandbits(128), version=4)  # noqa: S311 - a name, no secret
