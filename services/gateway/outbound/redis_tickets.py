"""One-use tickets for WebSockets, whose browsers can't send an Authorization header.

Redis sees neither tickets nor tokens: the key is a digest of the ticket, and the value is the token encrypted with
another digest of it. Who reads Redis can't sign in as anybody.
"""

import hashlib
import secrets

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from services.gateway.outbound.redis_connection import KEY_PREFIX, RedisConnection

TICKET_BYTES = 32
"""256 random bits: not to be guessed in 30 seconds, or ever."""

TICKET_CHARACTERS_MAX = 64
"""Longer ones are not looked up."""

_HEADER = {"alg": "dir", "enc": "A256GCM"}


class RedisTickets:
    """Fits `TicketStore`."""

    def __init__(self, redis: RedisConnection) -> None:
        """Keep tickets there."""
        self._redis = redis

    async def issue(self, token: str, *, lifetime_seconds: int) -> str:
        """Exchange an access token for a ticket.

        Raises:
            UnavailableError: Redis can't be reached.
        """
        ticket = secrets.token_urlsafe(TICKET_BYTES)
        sealed = jwe.encrypt_compact(_HEADER, token, _sealing_key(ticket))
        await self._redis.command("SET", _name(ticket), sealed, "EX", lifetime_seconds)
        return ticket

    async def redeem(self, ticket: str) -> str | None:
        """Return the access token, once.

        Raises:
            UnavailableError: Redis can't be reached.
        """
        if not 0 < len(ticket) <= TICKET_CHARACTERS_MAX:
            return None
        sealed = await self._redis.command("GETDEL", _name(ticket))
        if sealed is None:
            return None
        try:
            opened = jwe.decrypt_compact(sealed, _sealing_key(ticket)).plaintext
        except (JoseError, ValueError):
            return None
        return opened.decode() if opened else None


def _name(ticket: str) -> str:
    return f"{KEY_PREFIX}ticket:{_digest('name', ticket).hex()}"


def _sealing_key(ticket: str) -> OctKey:
    return OctKey.import_key(_digest("seal", ticket))


def _digest(purpose: str, ticket: str) -> bytes:
    return hashlib.blake2b(ticket.encode(), digest_size=32, person=f"tf-{purpose}".encode()).digest()
