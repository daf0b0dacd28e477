"""What the ledger's doors lead to."""

from msgspec import Struct

from services.ledger.outbound.leading_replica import LeadingReplica
from services.ledger.ports import Submitter
from services.ledger.queries.book import Book
from services.runtime.clock import Clock
from services.runtime.jwt import TokenVerifier


class Doorway(Struct, frozen=True, kw_only=True):
    """Where calls go: they write through the committer and read the book."""

    committer: Submitter
    book: Book
    verifier: TokenVerifier
    clock: Clock
    leader: LeadingReplica | None = None
    """Who gets the commands that come over gRPC while this replica stands by; without, it does them itself."""
    shortfall_to_receivable: bool = False
    """What a seller can't give back is charged to the seller's receivable account, instead of a refusal."""
