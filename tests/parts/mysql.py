"""MySQL: Debian sid's, since no other release of Debian has it, under its own loader."""

import getpass
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.parts.apt import PackageFolder, end_of, unpack_packages
from tests.parts.part import Place
from tests.parts.server import PartUnavailableError
from tests.parts.sql_servers import ask_version, common_words, copy_folder, shared_words, url_of

INSTALL_SECONDS_MAX = 120
"""`--initialize` takes 3 s on two cores."""

ROOT_FROM_ANYWHERE = "CREATE USER root@'%'; GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;\n"
"""Root has no password, and the server listens to this machine only."""

BESIDE_THE_SYSTEM = ("--secure-file-priv=", "--mysqlx=OFF")
"""The folder that the package would name doesn't exist here, and a second protocol would need a second port."""

SMALL = ("--innodb-redo-log-capacity=128M", "--performance-schema=OFF", "--table-open-cache=400")
"""Half of the memory and of the disk, at the same speed."""


class MysqlPart:
    """MySQL 9.7."""

    name = "mysql"
    image = "mysql:9.7"
    image_port = 3306

    def image_environment(self, place: Place) -> Mapping[str, str]:  # noqa: ARG002 - the port's signature
        """Let root in without a password."""
        return {"MYSQL_ALLOW_EMPTY_PASSWORD": "yes", "MYSQL_ROOT_HOST": "%"}

    def image_command(self, place: Place) -> Sequence[str]:
        """Give the server its flags."""
        return place.flags

    def install(self, folder: Path, log_file: Path) -> None:
        """Unpack it and initialise a data folder, which each server copies."""
        packages = unpack_packages(
            self.name, ["mysql-server-core"], suite="sid", root=folder / "root", log_file=log_file
        )
        init_file = folder / "init.sql"
        init_file.write_text(ROOT_FROM_ANYWHERE)
        command = [
            *self._mysqld(packages),
            "--initialize-insecure",
            "--innodb-redo-log-capacity=16M",
            f"--init-file={init_file}",
            f"--datadir={folder}/data",
        ]
        with log_file.open("a") as log:
            ended = subprocess.run(command, stdout=log, stderr=log, check=False, timeout=INSTALL_SECONDS_MAX)
        if ended.returncode != 0:
            raise PartUnavailableError(self.name, f"--initialize failed, see {log_file}:\n{end_of(log_file)}")
        # Else all servers made from this folder would have one UUID.
        (folder / "data" / "auto.cnf").unlink()

    def prepare(self, installed: Path, place: Place) -> None:
        """Copy the data folder."""
        copy_folder(installed / "data", place.data)

    def command(self, installed: Path, place: Place) -> list[str]:
        """Return the words that start a server."""
        packages = PackageFolder(installed / "root")
        return [
            *packages.command("usr/sbin/mysqld"),
            *common_words(place, packages.root),
            *BESIDE_THE_SYSTEM,
            *SMALL,
            *place.flags,
        ]

    def url(self, place: Place) -> str:
        """Name the server."""
        return url_of(place.host, place.port)

    def ask(self, url: str) -> str:
        """Return the version."""
        return ask_version(url)

    def _mysqld(self, packages: PackageFolder) -> list[str]:
        return [
            *packages.command("usr/sbin/mysqld"),
            "--no-defaults",
            f"--user={getpass.getuser()}",
            *shared_words(packages.root),
            *BESIDE_THE_SYSTEM,
        ]
