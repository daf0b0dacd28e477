"""Why the public routes that other services answer may refuse: statuses and reasons, for the API's description only.

A test that sends all kinds of calls holds the description to what is answered.
"""

from collections import defaultdict
from collections.abc import Mapping

from services.gateway.inbound.public_route import PublicRoute
from services.runtime.http_openapi import TOKEN_REFUSALS

_ANY_ROUTE = {
    "400": ("validation_failed", "path_malformed", "header_malformed"),
    "429": ("rate_limited",),
    "500": ("internal_error",),
    "503": ("upstream_unavailable",),
    "504": ("upstream_timeout", "deadline_exceeded"),
}
"""What any route may be answered, by status."""

_PROTECTED_ROUTE = {"401": TOKEN_REFUSALS, "403": ("user_token_required",)}

_ROUTE_WITH_BODY = {
    "400": ("malformed_json",),
    "413": ("body_too_large",),
    "415": ("unsupported_media_type",),
}

_KEYED_ROUTE = {"400": ("idempotency_key_missing", "idempotency_key_malformed"), "422": ("idempotency_key_reused",)}

COMMAND_REFUSALS = (
    "400 unknown_asset",
    "400 note_too_long",
    "400 metadata_malformed",
    "409 key_expired",
    "422 balance_overflow",
)
"""What the ledger may answer to a command, once its amount is right."""

LEDGER_AWAY = ("503 ledger_unavailable", "503 ledger_busy", "503 deadline_exceeded")
"""What calls that need the ledger are answered while it is gone or slow, with Retry-After."""

ORDER_REFUSALS = (
    "403 forbidden",
    "404 order_not_found",
    "409 request_in_flight",
    "409 order_busy",
    "422 illegal_transition",
    *LEDGER_AWAY,
)

REFUND_REFUSALS = ("422 insufficient_funds", "422 exceeds_capture", "422 capture_reversed", "422 balance_overflow")
"""Why the ledger gives nothing back: a seller has too little, or it has happened already."""

PRODUCT_REFUSALS = (
    "400 invalid_sku",
    "400 invalid_title",
    "400 invalid_amount",
    "400 unknown_asset",
    "400 invalid_stock",
    "403 role_required",
)


def reasons_of(route: PublicRoute) -> dict[str, list[str]]:
    """List the reasons of each refusal that a route may answer, by status: what routes have in common comes first."""
    shared: list[Mapping[str, tuple[str, ...]]] = [_ANY_ROUTE]
    shared += [_PROTECTED_ROUTE] if route.needs_token else []
    shared += [_ROUTE_WITH_BODY] if route.body is not None else []
    shared += [_KEYED_ROUTE] if route.idempotent_by_key else []
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for by_status in shared:
        for status, words in by_status.items():
            reasons[status].extend(words)
    for problem in route.problems:
        status, _, reason = problem.partition(" ")
        reasons[status].append(reason)
    return reasons
