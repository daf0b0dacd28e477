"""`tradeflow replay`: what the file says is what the ledger says, to the minor unit, on files and on real servers."""

import asyncio
import csv
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.embedded.replay.access import CREDENTIALS_VARIABLES
from services.embedded.replay.rejects import Reason
from tests.support.any_platform import BOTH_PLATFORMS, EMBEDDED
from tests.support.csv_orders import HEADER, generated_history, online_retail
from tests.support.platform import REPOSITORY, command, platform_process
from tests.support.real_platform import running_real_platform
from tests.support.recomputed_history import recompute
from tests.support.replayed_platform import (
    OwnPlatform,
    ReplayTarget,
    RunningPlatform,
    assert_ledger_says,
    assert_report_says,
    replay,
    run_replay,
)

pytestmark = pytest.mark.timeout(240)  # ten seconds alone; platforms start several times, on a busy machine

POLL_SECONDS = 0.02
QUICK = {
    "TRADEFLOW_ORDERS_PASSWORD_MEMORY_KIBIBYTES": "64",
    "TRADEFLOW_ORDERS_PASSWORD_PASSES": "1",
    "TRADEFLOW_ORDERS_REQUEST_LEASE_SECONDS": "2",
}
START_SECONDS_MAX = 120.0
CI_LINES_MAX = 1_000
"""Of the real history: all of it takes seven minutes on a small machine, and is for the long runs."""

WHAT_TIME_CHANGES = {"elapsed_seconds", "seconds_by_phase", "orders_per_second", "orders_remembered"}


@pytest.fixture(autouse=True)
def _quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash cheaply and give keys of the dead back soon, but not where the whole is to be as it is for people."""
    if request.node.get_closest_marker("ci") is None:
        for name, value in QUICK.items():
            monkeypatch.setenv(name, value)


@pytest.fixture(params=BOTH_PLATFORMS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReplayTarget]:
    """A platform of the replay's own, or one on real servers that runs already."""
    if request.param == EMBEDDED:
        yield OwnPlatform(tmp_path / "data")
        return
    with running_real_platform(request.getfixturevalue("shared_parts"), tmp_path / "platform") as platform:
        running = RunningPlatform(tmp_path / "data", platform)
        asyncio.run(running.register_merchant())
        yield running


def a_file(folder: Path, content: bytes) -> Path:
    file = folder / "history.csv"
    file.write_bytes(content)
    return file


def test_the_ledger_says_what_the_file_says_however_often_it_is_replayed(target: ReplayTarget, tmp_path: Path) -> None:
    content = generated_history(seed=21, steps=50, customers=4)
    file, expected = a_file(tmp_path, content), recompute(content)

    first = replay(file, target)
    postings = assert_ledger_says(target, expected)
    second = replay(file, target)

    assert_report_says(first, expected)
    assert {**first, **dict.fromkeys(WHAT_TIME_CHANGES)} == {**second, **dict.fromkeys(WHAT_TIME_CHANGES)}
    assert second["orders_remembered"] == second["orders_settled"]
    assert assert_ledger_says(target, expected) == postings
    with (target.data / "rejects-history.csv").open(newline="") as rejects:
        assert {int(row["row"]): row["reason"] for row in csv.DictReader(rejects)} == expected.rejected


def test_a_replay_that_is_killed_and_started_again_has_the_same_totals(target: ReplayTarget, tmp_path: Path) -> None:
    content = generated_history(seed=22, steps=40, customers=4)
    file, expected = a_file(tmp_path, content), recompute(content)

    killed_when(file, target, orders=len(expected.orders) // 2)
    said = replay(file, target)

    assert_report_says(said, expected)
    assert_ledger_says(target, expected)


def test_a_replay_that_is_killed_again_and_again_and_loses_its_memory_doubles_nothing(
    target: ReplayTarget, tmp_path: Path
) -> None:
    content = generated_history(seed=23, steps=30, customers=3)
    file, expected = a_file(tmp_path, content), recompute(content)

    for orders in (2, 5):
        killed_when(file, target, orders=orders)
        for remembered in (target.data / "replay").glob("*.jsonl"):
            remembered.unlink()
    said = replay(file, target)

    assert_report_says(said, expected)
    assert_ledger_says(target, expected)


def killed_when(file: Path, target: ReplayTarget, *, orders: int) -> None:
    """Start a replay and kill its process once it remembers so many orders."""
    with (file.parent / "stderr").open("a") as errors:
        process = subprocess.Popen(
            command("replay", str(file), *target.options),
            stdout=errors,
            stderr=errors,
            cwd=REPOSITORY,
            env={**os.environ, **target.variables},
        )
    deadline = time.monotonic() + START_SECONDS_MAX
    while orders_remembered(target.data) < orders:
        assert process.poll() is None, (file.parent / "stderr").read_text()
        assert time.monotonic() < deadline, "it placed no orders"
        time.sleep(POLL_SECONDS)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def orders_remembered(data: Path) -> int:
    return sum(file.read_text().count('"order_id"') for file in (data / "replay").glob("*.jsonl"))


def test_a_replay_into_a_running_platform_needs_its_accounts(tmp_path: Path) -> None:
    file = a_file(tmp_path, generated_history(seed=24, steps=3, customers=1))

    ended = run_replay(str(file), "--data", str(tmp_path / "data"), "--url", "http://127.0.0.1:9")

    assert ended.exit_code == 2
    for name in CREDENTIALS_VARIABLES:
        assert name in ended.stderr


def test_a_history_goes_into_a_platform_that_runs(tmp_path: Path) -> None:
    content = generated_history(seed=27, steps=12, customers=2)
    file, expected = a_file(tmp_path, content), recompute(content)
    with platform_process(tmp_path / "platform") as running:
        target = RunningPlatform(tmp_path / "data", running)
        asyncio.run(target.register_merchant())
        said = replay(file, target)

        assert_report_says(said, expected)
        assert_ledger_says(target, expected)


def test_a_platform_that_runs_on_the_folder_is_left_alone(tmp_path: Path) -> None:
    file, data = a_file(tmp_path, generated_history(seed=25, steps=3, customers=1)), tmp_path / "data"
    with platform_process(data):
        ended = run_replay(str(file), "--data", str(data))

    assert ended.exit_code == 2
    assert "in use" in ended.stderr


def test_a_file_that_is_not_there_ends_with_a_sentence(tmp_path: Path) -> None:
    ended = run_replay(str(tmp_path / "none.csv"), "--data", str(tmp_path / "data"))

    assert ended.exit_code == 2
    assert "none.csv" in ended.stderr
    assert not (tmp_path / "data").exists()


def test_a_missing_column_is_named_with_the_option_that_sets_it(tmp_path: Path) -> None:
    file = a_file(tmp_path, b"InvoiceNo,Sku,Quantity,InvoiceDate,UnitPrice,CustomerID\n")

    ended = run_replay(str(file), "--data", str(tmp_path / "data"))

    assert ended.exit_code == 2
    for words in ("'StockCode'", "--column-stock-code", "'Sku'"):
        assert words in ended.stderr


@pytest.mark.parametrize(
    ("option", "value"), [("--currency", "XXQ"), ("--delimiter", ";;"), ("--run-id", "a b"), ("--concurrency", "0")]
)
def test_an_option_out_of_range_ends_with_a_sentence(tmp_path: Path, option: str, value: str) -> None:
    file = a_file(tmp_path, ",".join(HEADER).encode())

    ended = run_replay(str(file), "--data", str(tmp_path / "data"), option, value)

    assert ended.exit_code == 2
    assert option in ended.stderr or value in ended.stderr


@pytest.mark.parametrize("date_format", ["%", "DD/MM/YYYY"])
def test_a_date_format_that_reads_no_date_is_refused_once_and_before_anything_happens(
    tmp_path: Path, date_format: str
) -> None:
    file = a_file(tmp_path, generated_history(seed=28, steps=4, customers=1))

    ended = run_replay(str(file), "--data", str(tmp_path / "data"), "--date-format", date_format)

    assert ended.exit_code == 2
    assert f"--date-format: {date_format!r}" in ended.stderr
    assert "'%d/%m/%Y %H:%M'" in ended.stderr
    assert not (tmp_path / "data").exists()


def test_the_rejects_never_replace_the_history(tmp_path: Path) -> None:
    file = a_file(tmp_path, generated_history(seed=28, steps=1, customers=1))
    before = file.read_bytes()

    ended = run_replay(str(file), "--data", str(tmp_path / "data"), "--rejects", str(tmp_path / "." / "history.csv"))

    assert ended.exit_code == 2
    assert file.read_bytes() == before


def test_the_help_lists_every_reason_and_every_column() -> None:
    ended = run_replay("--help", environment={"COLUMNS": "200", "NO_COLOR": "1"})

    assert ended.exit_code == 0
    for words in (*Reason, *HEADER):
        assert words in ended.stdout


@pytest.mark.ci
@pytest.mark.timeout(900)
@pytest.mark.parametrize("lines_max", [CI_LINES_MAX, pytest.param(None, marks=pytest.mark.soak)])
def test_the_online_retail_sample_comes_to_the_minor_unit(
    target: ReplayTarget, tmp_path: Path, lines_max: int | None
) -> None:
    content = b"".join(online_retail().splitlines(keepends=True)[:lines_max])
    file, expected = a_file(tmp_path, content), recompute(content)

    said = replay(file, target)

    assert said["rejected_by_reason"] == Counter(expected.rejected.values())
    assert_report_says(said, expected)
    assert_ledger_says(target, expected)


@pytest.mark.ci
@pytest.mark.timeout(900)
def test_a_long_history_that_is_killed_midway_comes_to_the_minor_unit(tmp_path: Path) -> None:
    target, content = OwnPlatform(tmp_path / "data"), generated_history(seed=26, steps=600, customers=40)
    file, expected = a_file(tmp_path, content), recompute(content)

    for orders in (50, 120, 200):
        killed_when(file, target, orders=orders)
    said = replay(file, target)

    assert_report_says(said, expected)
    assert_ledger_says(target, expected)
