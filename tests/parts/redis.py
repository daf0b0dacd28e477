"""Redis 7: Debian bookworm's, under its own loader; it keeps everything in memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import redis

from tests.parts.apt import PackageFolder, unpack_packages
from tests.parts.part import Place

ASK_SECONDS_MAX = 3
"""A server that accepts and doesn't answer is asked again after this."""


class RedisPart:
    """Redis, without a password."""

    name = "redis"
    image = "redis:7"
    image_port = 6379

    def image_environment(self, place: Place) -> Mapping[str, str]:  # noqa: ARG002 - the port's signature
        """Say nothing: it has no password."""
        return {}

    def image_command(self, place: Place) -> Sequence[str]:
        """Give the server its flags."""
        return ("redis-server", *place.flags) if place.flags else ()

    def install(self, folder: Path, log_file: Path) -> None:
        """Unpack it."""
        unpack_packages(self.name, ["redis-server"], suite="bookworm", root=folder / "root", log_file=log_file)

    def prepare(self, installed: Path, place: Place) -> None:  # noqa: ARG002 - the port's signature
        """Make the folder that it works in."""
        place.data.mkdir()

    def command(self, installed: Path, place: Place) -> list[str]:
        """Return the words that start a server."""
        packages = PackageFolder(installed / "root")
        return [
            *packages.command("usr/bin/redis-server"),
            *("--bind", place.host),
            *("--port", str(place.port)),
            *("--dir", str(place.data)),
            *("--save", ""),
            *("--appendonly", "no"),
            *place.flags,
        ]

    def url(self, place: Place) -> str:
        """Name the server's first database."""
        return f"redis://{place.host}:{place.port}/0"

    def ask(self, url: str) -> str:
        """Return the version."""
        client = redis.Redis.from_url(url, socket_timeout=ASK_SECONDS_MAX)
        try:
            return str(client.info("server")["redis_version"])
        except redis.RedisError as error:
            raise OSError(f"{url} doesn't answer: {error}") from error
        finally:
            client.close()
