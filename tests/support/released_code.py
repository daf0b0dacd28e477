"""The code that may still run while today's migrations are applied: the last release, or what came before them.

It runs on what its own lock file names: what today's code no longer needs, it may.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.platform import REPOSITORY
from tests.support.service_process import python_of
from tests.support.service_processes import SERVICES

MIGRATIONS = "services/*/migrations/m[0-9]*.py"
"""Every migration of every service."""

COMMITS_MAX = 40
"""Of one line of work: squashed, a merge's own parent can start."""

GIT_SECONDS_MAX = 60

INSTALL_SECONDS_MAX = 300
"""Most of it is in uv's cache, since today's lock file names it too."""


def released_code(folder: Path) -> Path:
    """Unpack the released code into a folder; the test fails, or is skipped, with the reason where there is none."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("released code comes out of the history, and this is no git clone")
    if _said("rev-parse", "--is-shallow-repository") == "true":
        pytest.fail("released code comes out of the history, and this clone is shallow: git fetch --unshallow --tags")
    if tag := _said("tag", "--list", "v*", "--sort=-creatordate").partition("\n")[0]:
        return _unpacked(tag, folder)
    for commit in _before_todays_newest_migration():
        code = _unpacked(commit, folder)
        if _can_start(code):
            return code
        shutil.rmtree(code)
    pytest.fail("no commit of the history has today's migrations but for the newest, and can start")


def _before_todays_newest_migration() -> Iterator[str]:
    """Name the commits that lack some of today's migrations only, newest first."""
    for commit in _said("log", "--format=%H", "--", MIGRATIONS).split():
        for before in _said("log", "--format=%H", "--skip=1", f"--max-count={COMMITS_MAX}", commit).split():
            if not _lacks_only(before):
                break
            yield before


def _unpacked(commit: str, folder: Path) -> Path:
    code = folder / f"code-{commit[:12]}"
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", commit))) as tar:
        tar.extractall(code, filter="data")
    _install(code)
    return code


def _install(code: Path) -> None:
    """Give the code an environment of its own."""
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(code / ".venv")}
    environment.pop("VIRTUAL_ENV", None)
    words = ["sync", "--locked", "--all-extras", "--no-default-groups", "--no-install-project"]
    subprocess.run(
        [Path(sys.executable).with_name("uv"), *words, "--quiet", "--python", sys.executable],
        cwd=code,
        env=environment,
        check=True,
        timeout=INSTALL_SECONDS_MAX,
    )


def _can_start(code: Path) -> bool:
    """Tell whether each service's parts are all there: a commit between two releases may be half a change."""
    words = [str(python_of(code)), "-c", f"import {', '.join(f'services.{name}.wiring' for name in SERVICES)}"]
    environment = {**os.environ, "PYTHONPATH": f"{code}{os.pathsep}{code / 'proto'}"}
    ended = subprocess.run(words, cwd=code, env=environment, check=False, capture_output=True, timeout=60)
    return ended.returncode == 0


def _lacks_only(commit: str) -> bool:
    """Tell whether a commit has some of today's migrations, all as they are today, and lacks others."""
    today = {str(path.relative_to(REPOSITORY)): path.read_text() for path in REPOSITORY.glob(MIGRATIONS)}
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", commit, "services"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=GIT_SECONDS_MAX,
    )
    then = [name for name in listed.stdout.split() if Path(name).match(MIGRATIONS)]
    return 0 < len(then) < len(today) and all(
        name in today and _git("show", f"{commit}:{name}").decode() == today[name] for name in then
    )


def _said(*words: str) -> str:
    return _git(*words).decode().strip()


def _git(*words: str) -> bytes:
    return subprocess.run(
        ["git", *words], cwd=REPOSITORY, capture_output=True, check=True, timeout=GIT_SECONDS_MAX
    ).stdout
