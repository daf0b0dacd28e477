"""Programs compiled from Go modules, once per machine: what no package of Debian has in the version that we need.

`PROGRAMS` names them all. One module, `go/`, builds them: its `go.sum` pins every byte, and a library that several of
them are made of is compiled once, which is most of a first build.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.parts.apt import end_of
from tests.parts.home import locked, parts_home
from tests.parts.server import PartUnavailableError

MODULE = Path(__file__).parent / "go"

BUILD_SECONDS_MAX = 3600
"""For one program: kube-apiserver takes up to eight minutes of two idle cores, and the machine may be busy."""

KUBERNETES = "v1.37.2"
"""As in `go/go.mod`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoProgram:
    """One program: where its source is, and what its first build costs."""

    name: str
    package: str
    version: str
    cpu_minutes: float
    """Of a build in the order of the names, with empty caches; a machine with several cores waits less."""
    stamp: bool = False
    """Whether the linker writes Kubernetes' version into it: an API server without one calls itself v0.0.0."""

    @property
    def file_name(self) -> str:
        """Name it so that another version is another file."""
        return f"{self.name}-{self.version}"


def _kubernetes(name: str, cpu_minutes: float) -> GoProgram:
    package = f"k8s.io/kubernetes/cmd/{name}"
    return GoProgram(name=name, package=package, version=KUBERNETES, cpu_minutes=cpu_minutes, stamp=True)


_ALL = (
    GoProgram(name="coredns", package="./coredns", version="v1.15.0", cpu_minutes=4),
    GoProgram(name="etcd", package="go.etcd.io/etcd/server/v3", version="v3.7.3", cpu_minutes=1.5),
    GoProgram(name="helm", package="helm.sh/helm/v4/cmd/helm", version="v4.3.1", cpu_minutes=1.5),
    GoProgram(
        name="helm-unittest",
        package="github.com/helm-unittest/helm-unittest/cmd/helm-unittest",
        version="v1.1.2",
        cpu_minutes=0.5,
    ),
    _kubernetes("kube-apiserver", 9),
    _kubernetes("kube-controller-manager", 4),
    _kubernetes("kube-proxy", 0.5),
    _kubernetes("kube-scheduler", 0.5),
    _kubernetes("kubectl", 1),
    _kubernetes("kubelet", 2),
)

PROGRAMS: dict[str, GoProgram] = {program.name: program for program in _ALL}
"""All programs, by name."""


def ensure_program(name: str) -> Path:
    """Return the path of a program; build it at the first call on this machine, and say so.

    Raises:
        PartUnavailableError: There is no Go, or the build failed.
    """
    program = PROGRAMS[name]
    folder = parts_home() / "installed" / "go"
    built = folder / program.file_name
    if built.exists():
        return built
    with locked(folder / f"{program.file_name}.lock"):
        if not built.exists():
            _build(program, built)
    return built


def _build(program: GoProgram, built: Path) -> None:
    if shutil.which("go") is None:
        raise PartUnavailableError(program.name, "is built from source: needs Go 1.26 or newer on the PATH")
    _tell(f"building {program.file_name}: about {program.cpu_minutes:g} minutes of a core at the first time")
    draft, log_file = built.parent / f"{built.name}.unfinished", built.parent / f"{built.name}.log"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    with log_file.open("w") as log:
        ended = subprocess.run(
            ["go", *_words(program, draft / program.name)],
            cwd=MODULE,
            env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
            timeout=BUILD_SECONDS_MAX,
        )
    if ended.returncode != 0:
        raise PartUnavailableError(program.name, f"`go` failed, see {log_file}:\n{end_of(log_file)}")
    (draft / program.name).rename(built)
    draft.rmdir()


def _words(program: GoProgram, target: Path) -> list[str]:
    flags = " ".join(("-s", "-w", *(_stamps() if program.stamp else ())))
    # What the linker leaves out needs not be compiled, which is a tenth of the time.
    compiler_flags = "-gcflags=all=-dwarf=false"
    return ["build", "-trimpath", compiler_flags, f"-ldflags={flags}", "-o", str(target), program.package]


def _stamps() -> Iterator[str]:
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        yield f"-X {package}.gitVersion={KUBERNETES} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"


def _tell(line: str) -> None:
    """Show that something goes on, past what captures the output of tests: minutes of silence look like a hang."""
    print(f"parts: {line}", file=sys.__stderr__, flush=True)
