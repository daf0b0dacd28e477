"""`tradeflow verify` as an operator runs it on a platform whose parts are anywhere."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.embedded.invariants import INVARIANTS
from tests.support.forked_process import ForkedProcess
from tests.support.part_urls import PartUrls
from tests.support.platform import REPOSITORY, alarm

VERIFY_SECONDS_MAX = 300.0
"""A book of a test is verified within seconds; the machine may be busy."""

Checked = list[Mapping[str, Any]]


def verify(urls: PartUrls) -> Checked:
    """Run the command, check that every invariant was looked at and holds, and return what was looked at."""
    with tempfile.TemporaryDirectory() as folder:
        errors_file = Path(folder) / "stderr"
        words = ("services.embedded", *verify_words(urls), "--json")
        process = ForkedProcess(*words, environment=os.environ, errors_file=errors_file, folder=REPOSITORY)
        with alarm(process, VERIFY_SECONDS_MAX), process.stdout:
            told = process.stdout.read()
        assert process.wait() == 0, told + errors_file.read_text()
    checked: Checked = json.loads(told)["invariants"]
    assert [one["number"] for one in checked] == list(INVARIANTS)
    return checked


def verify_words(urls: PartUrls) -> list[str]:
    """Spell the command that looks at everything."""
    databases = ("--database", urls.ledger_database, "--orders-database", urls.orders_database)
    return ["verify", *databases, "--broker", urls.broker]
