"""A server in a container, where a Docker engine answers and has, or can pull, the part's image."""

import os
import shlex
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.parts.apt import end_of
from tests.parts.part import Part, Place
from tests.parts.server import PartUnavailableError, ServerFailedError

START_SECONDS_MAX = 120.0
"""An image initialises its data at its first start: MySQL's takes 10-20 s."""

STOP_SECONDS_MAX = 20
"""Then the engine kills it."""

POLL_SECONDS = 0.1
"""How often a server that starts is asked."""

DEFAULT_SOCKET = Path("/var/run/docker.sock")
"""Where an engine listens that nobody configured."""


def engine() -> Any | None:
    """Return a client of the Docker engine, if one answers."""
    if "DOCKER_HOST" not in os.environ and not DEFAULT_SOCKET.exists():
        return None
    import docker  # noqa: PLC0415 - it takes a quarter of a second, and most machines have no engine

    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException:
        return None
    return client


def why_no_container(part: Part) -> str | None:
    """Say why this machine can't run the part in a container; None if it can. The image is pulled if it is absent."""
    if part.image is None:
        return f"{part.name} needs its host's network"
    client = engine()
    if client is None:
        return "no Docker engine answers"
    import docker  # noqa: PLC0415 - as above

    try:
        client.images.get(part.image)
    except docker.errors.ImageNotFound:
        try:
            client.images.pull(part.image)
        except docker.errors.DockerException as error:
            return f"the Docker engine can't pull {part.image}: {error}"
    except docker.errors.DockerException as error:
        return f"the Docker engine fails: {error}"
    finally:
        client.close()
    return None


class ContainerServer:
    """One server; its container is found again by a name made of its folder."""

    def __init__(self, part: Part, folder: Path, flags: Sequence[str] = ()) -> None:
        """Look at nothing yet; a server that was started before keeps its port and its flags."""
        self._part = part
        self._name = f"tradeflow-{part.name}-{sha256(str(folder).encode()).hexdigest()[:16]}"
        self._place = Place.of(folder, flags)
        self._client = engine()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._part.url(self._place)

    @property
    def log_file(self) -> Path:
        """Where its output is, once it ended or failed."""
        return self._place.log_file

    def is_running(self) -> bool:
        """Tell whether the container runs."""
        container = self._container()
        return container is not None and container.status in {"running", "paused"}

    def start(self) -> str:
        """Make the container, or start the one that there is."""
        container = self._container()
        if container is None:
            self._create()
        elif container.status != "running":
            container.start()
        self._wait_until_it_answers()
        return self.url

    def _create(self) -> None:
        from testcontainers.core.config import testcontainers_config  # noqa: PLC0415 - as in `engine`
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - as in `engine`

        # Its reaper would end a server together with the first of several processes that share it.
        testcontainers_config.ryuk_disabled = True
        container = DockerContainer(self._part.image or "").with_name(self._name)
        container.with_envs(**self._part.image_environment(self._place))
        container.with_bind_ports(self._part.image_port, self._place.port)
        container.with_command(shlex.join(self._part.image_command(self._place)))
        container.start()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                self._part.ask(self.url)
            except OSError as error:
                if self.is_running() and time.monotonic() < deadline:
                    time.sleep(POLL_SECONDS)
                    continue
                self._keep_log()
                raise ServerFailedError(
                    f"{self._part.name} did not start, see {self.log_file}:\n{end_of(self.log_file)}"
                ) from error
            return

    def stop(self) -> None:
        """End it and keep the container."""
        if (container := self._container()) is not None:
            self.resume()
            container.stop(timeout=STOP_SECONDS_MAX)

    def kill(self) -> None:
        """End it at once and keep the container."""
        container = self._container()
        if container is not None and container.status in {"running", "paused"}:
            self.resume()
            container.kill()
            container.wait()

    def pause(self) -> None:
        """Let it hang."""
        container = self._container()
        if container is not None and container.status == "running":
            container.pause()

    def resume(self) -> None:
        """Let it go on."""
        container = self._container()
        if container is not None and container.status == "paused":
            container.unpause()

    def restart(self) -> str:
        """Stop and start it."""
        self.stop()
        return self.start()

    def wipe(self) -> None:
        """Remove the container and its data; the log stays."""
        if (container := self._container()) is not None:
            self._keep_log()
            container.remove(force=True, v=True)

    def _keep_log(self) -> None:
        if (container := self._container()) is not None:
            self.log_file.write_bytes(container.logs())

    def _container(self) -> Any | None:
        import docker  # noqa: PLC0415 - as in `engine`

        if self._client is None:
            raise PartUnavailableError(self._part.name, "the Docker engine that ran it is gone")
        try:
            return self._client.containers.get(self._name)
        except docker.errors.NotFound:
            return None
