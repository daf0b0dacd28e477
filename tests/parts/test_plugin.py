"""How a run of tests gets its servers: each example is a run of its own, in a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts.opening import server_in
from tests.parts.run import PartsOfRun

ROOT = Path(__file__).parents[2]

RUN_SECONDS_MAX = 220
"""Three processes start, and a MySQL; a busy machine has taken more than a minute."""

pytestmark = pytest.mark.timeout(RUN_SECONDS_MAX + 20)

CONFTEST = """
import pytest

from tests.parts.plugin import *
from tests.parts.plugin import run_of

@pytest.fixture(scope="session")
def mysql_server(request):
    return run_of(request.config).shared("mysql", "mysql")

@pytest.fixture
def mysql_url(mysql_server):
    return mysql_server.url
"""
"""As the tests' own, without what imports all services."""

NEEDS_MYSQL = """
def test_on_mysql(mysql_url):
    assert mysql_url.startswith("mysql://")

def test_alone():
    pass
"""

SHARED = """
import pytest

@pytest.mark.parametrize("example", range(4))
def test_on_mysql(mysql_server, worker_id, example):
    with open("seen", "a") as seen:
        seen.write(f"{worker_id} {mysql_server.url} {mysql_server.log_file}\\n")
"""

CLUSTER = """
import pytest

@pytest.mark.parametrize("example", range(4))
def test_on_the_cluster(worker_id, example):
    with open("seen", "a") as seen:
        seen.write(f"{worker_id}\\n")
"""

DIES = """
import os, signal

def test_on_mysql(mysql_server):
    with open("seen", "w") as seen:
        seen.write(f"{mysql_server.log_file}")
    os.kill(os.getpid(), signal.SIGKILL)
"""

TIMED = """
import pytest

def seconds_of(request):
    mark = request.node.get_closest_marker("timeout")
    return mark and mark.args[0]

@pytest.mark.part("mysql")
def test_on_mysql(request):
    assert seconds_of(request) == 240

@pytest.mark.timeout(7)
@pytest.mark.part("mysql")
def test_with_its_own_time(request):
    assert seconds_of(request) == 7

def test_alone(request):
    assert seconds_of(request) is None
"""

NOWHERE = {"PATH": "/nowhere", "DOCKER_HOST": "unix:///nowhere/docker.sock"}
"""No apt and no Docker engine."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    ci\n    soak\n    part\n")
    return tmp_path


PLUGINS = ("-p", "xdist", "-p", "pytest_timeout", "-p", "no:cacheprovider")
"""Those alone: the others that are installed here take seconds to load, in each process."""


def run(folder: Path, test: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_example.py").write_text(test)
    return subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGINS, *options, "."],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS_MAX,
    )


@pytest.mark.ci
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_test_whose_part_cannot_be_had_fails_and_the_end_of_the_run_says_why(folder: Path, workers: str) -> None:
    ended = run(folder, NEEDS_MYSQL, "-n", workers, TRADEFLOW_PARTS_HOME=str(folder / "home"), **NOWHERE)

    assert ended.returncode == 1
    assert "1 passed, 1 error" in ended.stdout
    assert "not run here: 1 test, mysql: needs Docker, or Debian's apt-get and dpkg" in ended.stdout


@pytest.mark.ci
def test_whoever_asks_for_it_gets_a_skip_that_says_why(folder: Path) -> None:
    ended = run(
        folder,
        NEEDS_MYSQL,
        "-n",
        "2",
        TRADEFLOW_PARTS_HOME=str(folder / "home"),
        TRADEFLOW_PARTS_MISSING="skip",
        **NOWHERE,
    )

    assert ended.returncode == 0, ended.stdout
    assert "1 passed, 1 skipped" in ended.stdout
    assert "not run here: 1 test, mysql: needs Docker, or Debian's apt-get and dpkg" in ended.stdout


@pytest.mark.ci
def test_a_test_that_needs_a_server_is_left_out_of_a_newcomers_run(folder: Path) -> None:
    ended = run(folder, NEEDS_MYSQL, "-m", "not ci", TRADEFLOW_PARTS_HOME=str(folder / "home"), **NOWHERE)

    assert ended.returncode == 0
    assert "1 passed, 1 deselected" in ended.stdout


@pytest.mark.ci
def test_a_test_that_needs_a_server_has_the_time_of_its_start(folder: Path) -> None:
    ended = run(folder, TIMED, "-n", "0", TRADEFLOW_PARTS_HOME=str(folder / "home"), **NOWHERE)

    assert ended.returncode == 0, ended.stdout
    assert "3 passed" in ended.stdout


@pytest.mark.part("mysql")
def test_the_workers_of_a_run_share_a_server_that_ends_with_the_run(folder: Path) -> None:
    ended = run(folder, SHARED, "-n", "2", "--dist", "each")

    assert ended.returncode == 0, ended.stdout
    seen = [line.split() for line in (folder / "seen").read_text().splitlines()]
    assert {worker for worker, *_ in seen} == {"gw0", "gw1"}
    ((url, log_file),) = {(url, log_file) for _, url, log_file in seen}
    server = server_in(Path(log_file).parent)
    assert server is not None
    assert server.url == url
    assert not server.is_running()
    assert Path(log_file).exists()


@pytest.mark.ci
def test_the_one_cluster_and_the_browser_are_one_workers(folder: Path) -> None:
    for name in ("cluster", "browser"):
        (folder / "tests" / name).mkdir(parents=True)
        (folder / "tests" / name / f"test_{name}.py").write_text(CLUSTER)

    ended = run(folder, "def test_alone(): pass", "-n", "2", "--dist", "loadfile")

    assert ended.returncode == 0, ended.stdout
    seen = (folder / "seen").read_text().split()
    assert (len(seen), len(set(seen))) == (8, 1)


@pytest.mark.part("mysql")
def test_what_a_killed_run_left_is_ended_by_the_next_run(folder: Path) -> None:
    run(folder, DIES, "-n", "0")
    server = server_in(Path((folder / "seen").read_text()).parent)
    assert server is not None
    assert server.is_running()

    PartsOfRun.begin()

    assert not server.is_running()
