"""How pytest meets the parts: installed before the first test, shared by its workers, ended after the last test.

A test that needs a part which can't be had here fails; with `TRADEFLOW_PARTS_MISSING=skip` it is skipped. Either way
the end of the run says what did not run, and why.
"""

import os
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.parts.go_programs import PROGRAMS
from tests.parts.opening import PARTS, install
from tests.parts.run import PartsOfRun
from tests.parts.scheduling import OneNetworkScheduling
from tests.parts.server import PartUnavailableError

_RUN = pytest.StashKey[PartsOfRun]()
_WORKER_INPUT = "tradeflow_parts_run"
_PLACES = frozenset({"server", "url", "installed"})
"""How the names of the parts' own fixtures end."""

SECONDS_MAX = 240
"""Of a test that says nothing else: the first one that needs a shared server waits for its start, on a busy machine."""

_NOT_RUN = "not run here"


def run_of(config: pytest.Config) -> PartsOfRun:
    """Return the run that this process belongs to."""
    if _RUN not in config.stash:
        config.stash[_RUN] = PartsOfRun.begin()
    return config.stash[_RUN]


def pytest_configure(config: pytest.Config) -> None:
    """Join the run that the controller of this worker began."""
    given = getattr(config, "workerinput", {}).get(_WORKER_INPUT)
    if given is not None:
        config.stash[_RUN] = PartsOfRun(Path(given))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker which run it belongs to."""
    node.workerinput[_WORKER_INPUT] = str(run_of(node.config).folder)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Give out files whole, and all that needs the one network to one worker."""
    return OneNetworkScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a real server, before `-m` decides, and give it the time of a start."""
    for item in items:
        if not parts_of(item):
            continue
        if item.get_closest_marker("soak") is None:
            item.add_marker(pytest.mark.ci)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(SECONDS_MAX))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install what the chosen tests need, outside of any test's time; one that can't be had fails its own tests."""
    if session.config.option.collectonly:
        return
    for name in sorted({name for item in session.items for name in parts_of(item)}):
        try:
            install(name)
        except PartUnavailableError:
            continue


def parts_of(item: pytest.Item) -> set[str]:
    """Return what a test needs: by its marks, or by the fixtures it asks for, such as `mysql_url`, `helm_installed`."""
    marked = {str(mark.args[0]) for mark in item.iter_markers("part")}
    words = [fixture.split("_") for fixture in getattr(item, "fixturenames", ())]
    names = (*PARTS, *PROGRAMS)
    return marked | {name for name in names if any(name in fixture and fixture[-1] in _PLACES for fixture in words)}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the tests whose part can't be had."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, PartUnavailableError):
        reason = str(call.excinfo.value)
        report.user_properties.append((_NOT_RUN, reason))
        if os.environ.get("TRADEFLOW_PARTS_MISSING") == "skip":
            report.outcome = "skipped"
            report.longrepr = (str(item.path), item.reportinfo()[1] or 0, f"Skipped: {reason}")
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what could not run here."""
    reasons = Counter(_reasons(terminalreporter))
    for reason, count in sorted(reasons.items()):
        tests = "1 test" if count == 1 else f"{count} tests"
        terminalreporter.write_line(f"{_NOT_RUN}: {tests}, {reason}", yellow=True)


def _reasons(reporter: pytest.TerminalReporter) -> Iterator[str]:
    for outcome in ("error", "failed", "skipped"):
        for report in reporter.stats.get(outcome, []):
            # The report of a module that can't be collected has none.
            properties = getattr(report, "user_properties", ())
            yield from (str(value) for name, value in properties if name == _NOT_RUN)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the run's servers, in the process that began the run."""
    run = config.stash.get(_RUN, None)
    if run is not None and not hasattr(config, "workerinput"):
        run.end()
