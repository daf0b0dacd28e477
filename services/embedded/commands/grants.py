"""`tradeflow grants`: the rights of a service's users, as statements for whoever administers the server."""

import sys
from typing import Annotated

import typer

from services.embedded.commands.service_database import PACKAGES, ServiceName, telling_what_is_in_the_way
from services.runtime.database.grants import Role, grant_statements


def grants(
    service: Annotated[ServiceName, typer.Argument(metavar="SERVICE", help="Whose tables.")],
    *,
    user: Annotated[str, typer.Option("--user", help="The user's name on the server.")],
    host: Annotated[str, typer.Option("--host", help="Where the user connects from, as MySQL writes it.")] = "%",
    schema: Annotated[
        str | None, typer.Option("--schema", help="The schema's name on the server; the service's name by default.")
    ] = None,
    role: Annotated[
        Role,
        typer.Option("--role", help="runtime: the service. migrator: `tradeflow migrate`. reader: who only looks."),
    ] = "runtime",
) -> None:
    """Print the GRANT statements of a role for MySQL and MariaDB. Connects to nothing.

    The service's own user can't change a table's definition, nor a posting. Rights of single tables can be granted
    once the tables are there: first the migrator's, then `tradeflow migrate apply`, then the others; and again after
    migrations that made tables. GRANT adds rights and takes none away; a user is made by CREATE USER beforehand.

    [bold]Examples[/bold]

    tradeflow grants ledger --user ledger_migrator --role migrator | mysql -u root

    tradeflow migrate apply --service ledger --phase pre    [dim]# as ledger_migrator[/dim]

    tradeflow grants ledger --user ledger --host '10.0.%' | mysql -u root
    """
    with telling_what_is_in_the_way():
        statements = grant_statements(
            PACKAGES[service], schema=service if schema is None else schema, user=user, host=host, role=role
        )
    sys.stdout.write("".join(f"{statement}\n" for statement in statements))
