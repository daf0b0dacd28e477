"""One public route, as the description of the public API tells it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicRoute:
    """One operation that is proxied."""

    method: Literal["get", "post", "patch", "put", "delete"]
    path: str
    operation_id: str
    tag: str
    summary: str
    answer: type | None
    """None: an answer without a body."""
    status: int = 200
    other_answer: type | None = None
    """What is answered instead, as the query asks."""
    body: type | None = None
    query: tuple[str, ...] = ()
    """Names of query parameters, as in `QUERY_PARAMETERS`."""
    has_dry_run: bool = False
    """Whether `dry_run` in the body is answered with 200 and what would happen."""
    idempotent_by_key: bool = False
    needs_token: bool = True
    problems: tuple[str, ...] = ()
    """Refusals of this route alone: the status and the reason."""


QUERY_PARAMETERS = {
    "cursor": ("From the page before: its next_cursor.", False),
    "limit": ("1 to 200 items; 50 by default.", False),
    "state": ("Only those in this state.", False),
    "healed": ("`true`: those that are set right, instead of those that are open.", False),
    "message": ("Only the message of this id.", False),
    "role": ("`seller`: orders with lines that the caller sells.", False),
    "currency": ("An ISO 4217 code.", True),
    "placed_from": ("Placed at this instant or later (RFC 3339).", False),
    "placed_until": ("Placed before this instant (RFC 3339).", False),
    "at": ("What was settled by what was recorded up to this instant (RFC 3339).", False),
    "effective_at": ("What was settled by what counts from this instant or earlier (RFC 3339).", False),
    "from_account_sequence": ("The first row, from 1.", False),
    "to_account_sequence": ("The last row; 0 is the newest one.", False),
    "recorded_from": ("Recorded at this instant or later (RFC 3339).", False),
    "recorded_until": ("Recorded before this instant (RFC 3339).", False),
    "kind": ("Only of this kind, such as deposit; may be repeated.", False),
    "direction": ("`in`: only what the wallet received; `out`: only what it paid.", False),
    "order": ("`oldest_first`, which is the default, or `newest_first`.", False),
}
"""What each query parameter means, and whether it is required."""
