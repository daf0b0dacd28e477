import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.parts.home import PORTS, free_port, locked, parts_home
from tests.parts.process import ServerProcess, born_at
from tests.support.waiting import eventually

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path / "pid")
    process.start(SLEEPER, tmp_path / "log")
    yield process
    process.end(signal.SIGKILL)


def test_the_folder_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEFLOW_PARTS_HOME", str(tmp_path / "elsewhere"))

    assert parts_home() == tmp_path / "elsewhere"
    assert parts_home().is_dir()


def test_a_free_port_is_none_that_an_outgoing_connection_may_get() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert free_port() in PORTS
    assert PORTS.stop <= lowest


def test_only_one_at_a_time_is_inside_a_lock(tmp_path: Path) -> None:
    entered = Event()

    def enter() -> None:
        with locked(tmp_path / "lock"):
            entered.set()

    other = Thread(target=enter)
    with locked(tmp_path / "lock"):
        other.start()
        assert not entered.wait(0.1)
    other.join()

    assert entered.is_set()


async def test_a_process_is_known_by_its_file_and_writes_to_its_log(process: ServerProcess, tmp_path: Path) -> None:
    pid = ServerProcess(tmp_path / "pid").pid()

    assert pid == process.pid() is not None
    await eventually(lambda: (tmp_path / "log").read_text() == "up\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_ended_process_is_gone(process: ServerProcess, number: signal.Signals) -> None:
    pid = process.pid()
    assert pid is not None

    process.end(number)

    assert process.pid() is None
    assert born_at(pid) is None


def test_a_paused_process_can_be_ended(process: ServerProcess) -> None:
    process.send(signal.SIGSTOP)

    process.end(signal.SIGTERM)

    assert process.pid() is None


def test_another_process_with_the_number_of_ours_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(f"{os.getpid()} 1")

    assert ServerProcess(tmp_path / "pid").pid() is None
