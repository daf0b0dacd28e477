"""`python -m tests.parts COMMAND PART`: servers for people, which stay until they are stopped."""

import argparse
import sys
from collections.abc import Callable

from tests.parts.go_programs import PROGRAMS, ensure_program
from tests.parts.home import parts_home
from tests.parts.opening import PARTS, install, open_server, provider_of
from tests.parts.server import PartUnavailableError, Server, ServerFailedError

STOPPED = 3
"""The exit code of `status` when the server doesn't run."""


def main(arguments: list[str]) -> int:
    """Run one command; errors are a line and an exit code of 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.parts", description=__doc__)
    parser.add_argument("command", choices=["install", *COMMANDS])
    parser.add_argument("part", choices=sorted((*PARTS, *PROGRAMS)), help="servers, and programs to install")
    parser.add_argument("--name", default="hand", help="to tell several servers of a part apart")
    wished, flags = parser.parse_known_args(arguments)
    try:
        if wished.command == "install":
            install(wished.part)
            print(f"{wished.part} is installed ({_origin_of(wished.part)})")  # noqa: T201 - a command line
            return 0
        if wished.part in PROGRAMS:
            parser.error(f"{wished.part} is a program: it can only be installed")
        folder = parts_home() / "servers" / f"{wished.part}-{wished.name}"
        return COMMANDS[wished.command](open_server(wished.part, folder, flags))
    except (PartUnavailableError, ServerFailedError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command line
        return 1


def _origin_of(name: str) -> str:
    return str(ensure_program(name)) if name in PROGRAMS else provider_of(PARTS[name])


def _start(server: Server) -> int:
    print(server.start())  # noqa: T201 - a command line
    return 0


def _restart(server: Server) -> int:
    print(server.restart())  # noqa: T201 - a command line
    return 0


def _status(server: Server) -> int:
    running = server.is_running()
    print(f"{'running' if running else 'stopped'} {server.url} {server.log_file}")  # noqa: T201 - a command line
    return 0 if running else STOPPED


def _silently(act: Callable[[Server], None]) -> Callable[[Server], int]:
    def run(server: Server) -> int:
        act(server)
        return 0

    return run


COMMANDS: dict[str, Callable[[Server], int]] = {
    "start": _start,
    "restart": _restart,
    "status": _status,
    "stop": _silently(lambda server: server.stop()),
    "kill": _silently(lambda server: server.kill()),
    "pause": _silently(lambda server: server.pause()),
    "resume": _silently(lambda server: server.resume()),
    "wipe": _silently(lambda server: server.wipe()),
}
"""What can be said to a server; flags of the server itself follow `start` and `restart`."""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
