"""Prometheus 3.5 and its promtool: Debian sid's, under their own loader; they scrape this machine's ports."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.parts.apt import PackageFolder, unpack_packages
from tests.parts.http_servers import ask_http
from tests.parts.part import Place

CONFIG_FLAG = "--config.file"

PROMTOOL = "promtool"
"""A script in the installed folder, so that the program can be named by one path."""


def prometheus_config(
    scrape_configs: Sequence[Mapping[str, Any]], *, rules_folder: Path | None = None, interval_seconds: int = 1
) -> str:
    """Write a configuration: what is scraped, and every rule file of a folder. JSON is YAML."""
    every = f"{interval_seconds}s"
    config: dict[str, Any] = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "scrape_configs": list(scrape_configs),
    }
    if rules_folder is not None:
        config["rule_files"] = [f"{rules_folder.resolve()}/*.y*ml"]
    return json.dumps(config, indent=1)


class PrometheusPart:
    """Prometheus; in a container it would not see the processes that it is to scrape."""

    name = "prometheus"
    image = None
    image_port = 9090

    def image_environment(self, place: Place) -> Mapping[str, str]:  # noqa: ARG002 - the port's signature
        """There is no image."""
        return {}

    def image_command(self, place: Place) -> Sequence[str]:  # noqa: ARG002 - the port's signature
        """There is no image."""
        return ()

    def install(self, folder: Path, log_file: Path) -> None:
        """Unpack it, and make promtool a single program."""
        packages = unpack_packages(self.name, ["prometheus"], suite="sid", root=folder / "root", log_file=log_file)
        (packages.root / "usr/bin/prometheus").stat()
        words = " ".join(f'"{word}"' for word in packages.command("usr/bin/promtool")).replace(str(folder), "$here")
        script = folder / PROMTOOL
        script.write_text(f'#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\nexec {words} "$@"\n')
        script.chmod(0o755)

    def prepare(self, installed: Path, place: Place) -> None:  # noqa: ARG002 - the port's signature
        """Make the folder of its time series, and a configuration that scrapes nothing."""
        place.data.mkdir()
        _config_file(place).write_text(prometheus_config([]))

    def command(self, installed: Path, place: Place) -> list[str]:
        """Return the words that start a server; a flag may name another configuration."""
        configured = any(flag.startswith(CONFIG_FLAG) for flag in place.flags)
        return [
            *PackageFolder(installed / "root").command("usr/bin/prometheus"),
            *(() if configured else (f"{CONFIG_FLAG}={_config_file(place)}",)),
            f"--storage.tsdb.path={place.data}",
            f"--web.listen-address={place.host}:{place.port}",
            "--web.enable-lifecycle",
            "--log.level=warn",
            *place.flags,
        ]

    def url(self, place: Place) -> str:
        """Name the server, without a path."""
        return f"http://{place.host}:{place.port}"

    def ask(self, url: str) -> str:
        """Return the version."""
        ask_http(f"{url}/-/ready")
        return str(ask_http(f"{url}/api/v1/status/buildinfo").json()["data"]["version"])


def _config_file(place: Place) -> Path:
    return place.folder / "prometheus.yml"
