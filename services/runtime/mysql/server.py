"""Which of the two servers is behind a connection, and what each writes differently."""

import re
from enum import Enum


class UnsupportedServerError(Exception):
    """This server lacks what the adapter builds on; its message says what."""


class Server(Enum):
    """Servers that speak MySQL's protocol."""

    MYSQL = "MySQL"
    MARIADB = "MariaDB"

    @property
    def collation(self) -> str:
        """The collation that compares texts by their characters alone, blanks at their ends too, as SQLite does."""
        return "utf8mb4_0900_bin" if self is Server.MYSQL else "utf8mb4_nopad_bin"

    @property
    def isolation_variable(self) -> str:
        """The session variable that tells the isolation level."""
        return "transaction_isolation" if self is Server.MYSQL else "tx_isolation"


_OLDEST = {Server.MYSQL: (8, 4), Server.MARIADB: (10, 11)}
"""The oldest versions that the tests run on."""


def server_of(version: str) -> Server:
    """Tell the server by the version it greets with, such as 9.7.1, or 10.11.14-MariaDB, or 5.5.5-10.11.14-MariaDB.

    Raises:
        UnsupportedServerError: It is too old.
    """
    server = Server.MARIADB if "mariadb" in version.lower() else Server.MYSQL
    numbers = re.findall(r"\d+", version.removeprefix("5.5.5-"))
    if tuple(int(number) for number in numbers[:2]) < _OLDEST[server]:
        oldest = ".".join(str(number) for number in _OLDEST[server])
        raise UnsupportedServerError(f"{server.value} {version} is too old: {oldest} or newer is needed")
    return server
