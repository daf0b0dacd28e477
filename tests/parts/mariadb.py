"""MariaDB 10.11: Debian bookworm's, under its own loader."""

import getpass
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.parts.apt import PackageFolder, end_of, unpack_packages
from tests.parts.part import Place
from tests.parts.server import PartUnavailableError
from tests.parts.sql_servers import ask_version, common_words, copy_folder, shared_words, url_of

INSTALL_SECONDS_MAX = 120
"""The bootstrap takes less than a second."""

BOOTSTRAP_FILES = (
    "mysql_system_tables.sql",
    "mysql_performance_tables.sql",
    "mysql_system_tables_data.sql",
    "maria_add_gis_sp_bootstrap.sql",
    "mysql_sys_schema.sql",
)
"""What `mariadb-install-db` runs; that script itself would look for programs outside of the folder."""

BEFORE = "CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n"
"""One statement a line: the bootstrap reads lines. Root signs in by TCP, not by the socket's user."""

AFTER = "FLUSH PRIVILEGES;\nCREATE USER root@'%';\nGRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;\n"
"""Root has no password, and the server listens to this machine only."""


class MariadbPart:
    """MariaDB 10.11."""

    name = "mariadb"
    image = "mariadb:10.11"
    image_port = 3306

    def image_environment(self, place: Place) -> Mapping[str, str]:  # noqa: ARG002 - the port's signature
        """Let root in without a password."""
        return {"MARIADB_ALLOW_EMPTY_ROOT_PASSWORD": "yes", "MARIADB_ROOT_HOST": "%"}

    def image_command(self, place: Place) -> Sequence[str]:
        """Give the server its flags."""
        return place.flags

    def install(self, folder: Path, log_file: Path) -> None:
        """Unpack it and bootstrap a data folder, which each server copies."""
        packages = unpack_packages(
            self.name, ["mariadb-server-core"], suite="bookworm", root=folder / "root", log_file=log_file
        )
        (folder / "data" / "mysql").mkdir(parents=True)
        scripts = packages.root / "usr/share/mysql"
        command = [
            *packages.command("usr/sbin/mariadbd"),
            "--no-defaults",
            "--bootstrap",
            f"--user={getpass.getuser()}",
            *shared_words(packages.root),
            "--innodb-log-file-size=32M",
            f"--datadir={folder}/data",
        ]
        with log_file.open("a") as log:
            ended = subprocess.run(
                command,
                input=BEFORE + "".join((scripts / name).read_text() for name in BOOTSTRAP_FILES) + AFTER,
                stdout=log,
                stderr=log,
                text=True,
                check=False,
                timeout=INSTALL_SECONDS_MAX,
            )
        if ended.returncode != 0:
            raise PartUnavailableError(self.name, f"--bootstrap failed, see {log_file}:\n{end_of(log_file)}")

    def prepare(self, installed: Path, place: Place) -> None:
        """Copy the data folder."""
        copy_folder(installed / "data", place.data)

    def command(self, installed: Path, place: Place) -> list[str]:
        """Return the words that start a server."""
        packages = PackageFolder(installed / "root")
        return [*packages.command("usr/sbin/mariadbd"), *common_words(place, packages.root), *place.flags]

    def url(self, place: Place) -> str:
        """Name the server; its clients speak MySQL's protocol."""
        return url_of(place.host, place.port)

    def ask(self, url: str) -> str:
        """Return the version."""
        return ask_version(url)
