"""Sessions, refresh tokens and revocations in a transaction."""

from datetime import datetime
from typing import Final

from services.orders.domain.session import RefreshToken, Session
from services.orders.identity_ports import RevokedToken
from services.orders.outbound.tables import Tables
from services.runtime.clock import from_micros, from_micros_or_none, to_micros, to_micros_or_none
from services.runtime.database.port import Connection

# Locks the session, whichever of its tokens came: two uses of one token take turns.
_LOCK_SESSION: Final = """
    SELECT s.session_id, s.user_id, s.created_at, s.expires_at, s.ended_at, s.ended_by_reuse,
        s.generation, t.token_hash, t.issued_at, t.used_at
    FROM refresh_tokens t JOIN sessions s ON s.session_id = t.session_id WHERE t.token_hash = $1 FOR UPDATE
"""

_UPSERT: Final = """
    INSERT INTO refresh_tokens (token_hash, session_id, issued_at, used_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (token_hash) DO UPDATE SET used_at = EXCLUDED.used_at
"""

_EXPIRED_SESSIONS: Final = "SELECT session_id FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2"

# Some tokens of these sessions, by the index on them: one that was refreshed for months has many thousands.
_TOKENS_OF_SESSIONS: Final = "SELECT token_hash FROM refresh_tokens WHERE session_id IN ($in) LIMIT $1"

_FORGET_HASH: Final = "DELETE FROM refresh_tokens WHERE token_hash = $1"

_FORGET_SESSION: Final = "DELETE FROM sessions WHERE session_id = $1"

_REMEMBER_REVOKED: Final = """
    INSERT INTO revoked_access_tokens (token_id, expires_at, revoked_at) VALUES ($1, $2, $3)
    ON CONFLICT (token_id) DO NOTHING
"""

_NEWEST_REVOKED: Final = """
    SELECT token_id, expires_at FROM revoked_access_tokens WHERE expires_at > $1 ORDER BY revoked_at DESC LIMIT $2
"""

# The first that expired, by the index on it.
_EXPIRED_REVOKED: Final = """
    SELECT token_id FROM revoked_access_tokens WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2
"""

_FORGET_REVOKED: Final = "DELETE FROM revoked_access_tokens WHERE token_id = $1"


class SqlSessionRows:
    """Fits `SessionRows`."""

    def __init__(self, connection: Connection, tables: Tables) -> None:
        """Work in one transaction."""
        self._connection = connection
        self._tables = tables

    async def add(self, session: Session) -> None:
        """Write a new session."""
        sessions = self._tables.sessions
        await sessions.insert(
            sessions(
                session_id=session.session_id,
                user_id=session.user_id,
                created_at=to_micros(session.created_at),
                expires_at=to_micros(session.expires_at),
                ended_at=to_micros_or_none(session.ended_at),
                ended_by_reuse=session.ended_by_reuse,
                generation=session.generation,
            )
        )

    async def save(self, session: Session) -> None:
        """Write what changed of a session."""
        sessions = self._tables.sessions
        await sessions.update(
            {
                sessions.expires_at: to_micros(session.expires_at),
                sessions.ended_at: to_micros_or_none(session.ended_at),
                sessions.ended_by_reuse: session.ended_by_reuse,
            }
        ).where(sessions.session_id == session.session_id)

    async def find_by_token(self, token_hash: bytes) -> tuple[Session, RefreshToken] | None:
        """Lock and read a session by any of its tokens."""
        rows = await self._connection.fetch(_LOCK_SESSION, token_hash)
        if not rows:
            return None
        session_id, user_id, created_at, expires_at, ended_at, by_reuse, generation, *of_token = rows[0]
        found_hash, issued_at, used_at = of_token
        session = Session(
            session_id=session_id,
            user_id=user_id,
            created_at=from_micros(created_at),
            expires_at=from_micros(expires_at),
            ended_at=from_micros_or_none(ended_at),
            ended_by_reuse=bool(by_reuse),
            generation=generation,
        )
        token = RefreshToken(
            token_hash=bytes(found_hash),
            session_id=session_id,
            issued_at=from_micros(issued_at),
            used_at=from_micros_or_none(used_at),
        )
        return session, token

    async def save_token(self, token: RefreshToken) -> None:
        """Write a new token, or that it was used."""
        await self._connection.execute(
            _UPSERT,
            token.token_hash,
            token.session_id,
            to_micros(token.issued_at),
            to_micros_or_none(token.used_at),
        )

    async def forget_expired(self, now: datetime, *, rows_max: int) -> int:
        """Delete tokens of sessions that ran out, and the sessions once these have none; return how many of both."""
        sessions = await self._connection.fetch(_EXPIRED_SESSIONS, to_micros(now), rows_max)
        tokens = await self._connection.fetch_in(_TOKENS_OF_SESSIONS, [row[0] for row in sessions], rows_max)
        await self._connection.write_at_commit(_FORGET_HASH, tokens)
        if len(tokens) >= rows_max:
            return len(tokens)
        await self._connection.write_at_commit(_FORGET_SESSION, sessions)
        return len(tokens) + len(sessions)


class SqlRevocationRows:
    """Fits `RevocationRows`."""

    def __init__(self, connection: Connection) -> None:
        """Work in one transaction."""
        self._connection = connection

    async def add(self, token: RevokedToken, now: datetime) -> None:
        """Remember one; again is fine."""
        await self._connection.execute(
            _REMEMBER_REVOKED, token.token_id.encode(), to_micros(token.expires_at), to_micros(now)
        )

    async def newest(self, now: datetime, *, tokens_max: int) -> list[RevokedToken]:
        """Read those that have not expired, newest first."""
        rows = await self._connection.fetch(_NEWEST_REVOKED, to_micros(now), tokens_max)
        return [
            RevokedToken(token_id=bytes(token_id).decode(), expires_at=from_micros(expires_at))
            for token_id, expires_at in rows
        ]

    async def forget_expired(self, now: datetime, *, rows_max: int) -> int:
        """Delete the first of those that have expired; return how many."""
        expired = await self._connection.fetch(_EXPIRED_REVOKED, to_micros(now), rows_max)
        await self._connection.write_at_commit(_FORGET_REVOKED, expired)
        return len(expired)
