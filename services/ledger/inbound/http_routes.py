"""The ledger's HTTP door as a whole: the own wallet, the treasury, and the book."""

from litestar.handlers import BaseRouteHandler

from services.ledger.inbound.doorway import Doorway
from services.ledger.inbound.http_api import wallet_routes
from services.ledger.inbound.http_journal import journal_routes
from services.ledger.inbound.http_treasury import treasury_routes


def ledger_routes(doorway: Doorway) -> list[BaseRouteHandler]:
    """Make the routes that lead to the committer and the book."""
    return [
        *wallet_routes(doorway.book, doorway.committer),
        *treasury_routes(doorway.committer, shortfall_to_receivable=doorway.shortfall_to_receivable),
        *journal_routes(doorway.book),
    ]
