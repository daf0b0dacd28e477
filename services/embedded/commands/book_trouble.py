"""How a command that reads or writes one book ends where something is in the way: one line, and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager
from sqlite3 import Error as SqliteError

import typer
from pymysql import MySQLError

from services.embedded.commands.exit_codes import (
    INTERRUPTED,
    USAGE,
    VIOLATED,
    end_with,
    told_of_file,
    told_of_rights,
    told_of_tables,
)
from services.ledger.proof.notary import JournalChangedError
from services.runtime.database.port import NotGrantedError, TableMissingError
from services.runtime.errors import TradeFlowError


@contextmanager
def telling_what_troubles_the_book() -> Iterator[None]:
    """End where a book can't be read, signed or brought in, or a file can't be written.

    Raises:
        SystemExit: It can't.
    """
    try:
        yield
    except TradeFlowError as error:
        end_with(error.message, USAGE)
    except JournalChangedError as error:
        end_with(f"{error}: nothing is signed any more; `tradeflow verify` names what was changed", VIOLATED)
    except NotGrantedError as error:
        end_with(told_of_rights(error), VIOLATED)
    except TableMissingError as error:
        end_with(told_of_tables(error), VIOLATED)
    except (MySQLError, SqliteError) as error:
        end_with(f"the database refuses: {error}", VIOLATED)
    except OSError as error:
        end_with(told_of_file(error), USAGE)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
