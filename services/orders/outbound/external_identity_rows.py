"""External identities in a transaction."""

from typing import Final
from uuid import UUID

from services.orders.domain.external_identity import ExternalIdentity, IdentityTakenError
from services.runtime.clock import from_micros, to_micros
from services.runtime.database.port import Connection, DuplicateKeyError

_ADD: Final = """
    INSERT INTO external_identities (issuer, subject, user_id, made_user, first_seen_at) VALUES ($1, $2, $3, $4, $5)
"""

_FIND: Final = "SELECT user_id, made_user, first_seen_at FROM external_identities WHERE issuer = $1 AND subject = $2"

_MADE: Final = "SELECT COUNT(*) FROM external_identities WHERE user_id = $1 AND made_user"


class SqlExternalIdentityRows:
    """Fits `ExternalIdentityRows`."""

    def __init__(self, connection: Connection) -> None:
        """Work in one transaction."""
        self._connection = connection

    async def find(self, issuer: str, subject: str) -> ExternalIdentity | None:
        """Read which user a person is."""
        rows = await self._connection.fetch(_FIND, issuer.encode(), subject.encode())
        if not rows:
            return None
        user_id, made_user, first_seen_at = rows[0]
        return ExternalIdentity(
            issuer=issuer,
            subject=subject,
            user_id=user_id,
            made_user=bool(made_user),
            first_seen_at=from_micros(first_seen_at),
        )

    async def add(self, identity: ExternalIdentity) -> None:
        """Write which user a person is.

        Raises:
            IdentityTakenError: The person has a user.
        """
        try:
            await self._connection.execute(
                _ADD,
                identity.issuer.encode(),
                identity.subject.encode(),
                identity.user_id,
                identity.made_user,
                to_micros(identity.first_seen_at),
            )
        except DuplicateKeyError as error:
            raise IdentityTakenError("This person has a user.") from error

    async def has_made(self, user_id: UUID) -> bool:
        """Tell whether a user is there only because an issuer vouched for somebody."""
        rows = await self._connection.fetch(_MADE, user_id)
        return bool(rows[0][0])
