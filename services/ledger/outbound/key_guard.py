"""Refuse a batch at the server when one of its keys was answered before, without asking first."""

from collections.abc import Iterable

from services.ledger.commands.state import KeyScope
from services.ledger.outbound.equal_parts import equal_parts
from services.runtime.database.port import CommitWrites

KEYS_OF_STATEMENT = 32
"""Keys that one statement looks for: few for one call alone, and a thousand take no longer than by any other form."""

# Finds a key whose answer made no record and sets its reason to NULL, which the column refuses. A key of a record needs
# no such guard where the batch makes one of it too: two can't be in the index over them.
_REFUSE_ANSWERED = f"""
    UPDATE idempotency_keys SET reason = NULL WHERE book_id = $1 AND service = $2
        AND idempotency_key IN ({", ".join(f"${number}" for number in range(3, 3 + KEYS_OF_STATEMENT))})
"""  # noqa: S608 - placeholders only


async def refuse_answered_keys(connection: CommitWrites, book_id: int, scopes: Iterable[KeyScope]) -> None:
    """Fail the transaction with `ValueMissingError` if one of the keys has an answer without a record."""
    keys: dict[str, list[bytes]] = {}
    for service, key in scopes:
        keys.setdefault(service, []).append(key.encode())
    rows = [
        (book_id, service.encode(), *some)
        for service, of_service in keys.items()
        for some in equal_parts(of_service, KEYS_OF_STATEMENT)
    ]
    await connection.write_at_commit(_REFUSE_ANSWERED, rows)
