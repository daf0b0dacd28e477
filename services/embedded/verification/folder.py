"""Check every invariant on one data folder, whether its platform runs or not."""

from services.embedded.book_source import DEFAULT_BOOK, book_source
from services.embedded.data_folder import DataFolder
from services.embedded.invariants import CheckedInvariant
from services.embedded.sqlite_url import sqlite_url
from services.embedded.verification.deployment import Deployment, verify_deployment
from services.embedded.verification.progress import Progress, silent
from services.ledger.proof.head_file import HeadFile


async def verify_folder(
    folder: DataFolder, progress: Progress = silent, *, from_sequence: int = 1, kept: HeadFile | None = None
) -> list[CheckedInvariant]:
    """Check all invariants; see `verify_deployment`.

    Raises:
        BadDataFolderError: No platform ever ran on the folder.
    """
    folder.check_databases_exist()
    deployment = Deployment(
        book=book_source(folder.path, None, None, DEFAULT_BOOK),
        orders_url=sqlite_url(folder.orders_database),
        broker_url=sqlite_url(folder.broker_file),
        is_running=folder.owner() is not None,
    )
    return await verify_deployment(deployment, progress, from_sequence=from_sequence, kept=kept)
