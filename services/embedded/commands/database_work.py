"""Work on a service's database: opened, looked at whether it is that service's, and closed again."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from services.embedded.commands.service_database import PACKAGES, ServiceDatabase
from services.runtime.database.migration_modules import migrations_of
from services.runtime.database.port import Database
from services.runtime.database.schema_state import SchemaState, read_schema_state
from services.runtime.database_opening import open_database
from services.runtime.errors import InvalidArgumentError, RefusedError

T = TypeVar("T")


def on_database(target: ServiceDatabase, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    """Do some work on a service's database.

    Raises:
        InvalidArgumentError: It is another service's.
    """

    async def run() -> T:
        database = open_database(target.url)
        try:
            await refuse_if_another_services(target, database)
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def check_whose_it_is(target: ServiceDatabase) -> None:
    """Look whose database it is, for work that opens it by itself.

    Raises:
        InvalidArgumentError: It is another service's, or its URL is malformed.
        UnavailableError: It can't be reached.
    """

    async def nothing(_: Database) -> None:
        pass

    on_database(target, nothing)


def refuse_another_services(target: ServiceDatabase, state: SchemaState) -> None:
    """Tell whose database it is: all services' first migration has one name, and looks like a changed one here.

    Raises:
        InvalidArgumentError: It is another service's.
    """
    changed = {each.checksum for each in state.applied if each.name in state.changed}
    for service, package in PACKAGES.items():
        if any(migration.checksum in changed for migration in migrations_of(package)):
            raise InvalidArgumentError(
                f"{target.shown_url} is the database of {service}, not of {target.service}; "
                f"name the one of {target.service}",
                reason="database_of_another_service",
            )


async def refuse_if_another_services(target: ServiceDatabase, database: Database) -> None:
    """Look whose database it is that was opened.

    Raises:
        InvalidArgumentError: It is another service's.
    """
    try:
        state = await read_schema_state(database, migrations_of(target.package))
    except RefusedError:
        return  # This user may not look at migrations; what the work itself needs is another matter.
    refuse_another_services(target, state)
