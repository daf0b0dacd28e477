"""`tradeflow verify` as an operator runs it on a platform whose parts are anywhere."""

import json
from collections.abc import Mapping
from typing import Any

from services.embedded.invariants import INVARIANTS
from tests.support.part_urls import PartUrls
from tests.support.platform import run_command

VERIFY_SECONDS_MAX = 300.0
"""A book of a test is verified within seconds; the machine may be busy."""

Checked = list[Mapping[str, Any]]


def verify(urls: PartUrls) -> Checked:
    """Run the command, check that every invariant was looked at and holds, and return what was looked at."""
    ended = run_command(*verify_words(urls), "--json", seconds_max=VERIFY_SECONDS_MAX)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    checked: Checked = json.loads(ended.stdout)["invariants"]
    assert [one["number"] for one in checked] == list(INVARIANTS)
    return checked


def verify_words(urls: PartUrls) -> list[str]:
    """Spell the command that looks at everything."""
    databases = ("--database", urls.ledger_database, "--orders-database", urls.orders_database)
    return ["verify", *databases, "--broker", urls.broker]
