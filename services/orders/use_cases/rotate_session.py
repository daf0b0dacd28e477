"""Exchange a refresh token for its successor."""

from services.orders.domain.session import (
    RefreshTokenReusedError,
    SessionTimes,
    UnknownRefreshTokenError,
)
from services.orders.identity_ports import IdentityStore
from services.orders.use_cases.refresh_token import IssuedToken, hash_of, issue_token
from services.runtime.clock import Clock


async def rotate_session(refresh_token: str, *, store: IdentityStore, clock: Clock, times: SessionTimes) -> IssuedToken:
    """Use a token up and issue the next one; the user has the roles of now.

    Raises:
        UnauthenticatedError: `refresh_token_unknown`, `session_ended`, or `refresh_token_reused`, which ends the
            session for all of its tokens.
    """
    now = clock.now()
    async with store.transaction() as rows:
        found = await rows.sessions.find_by_token(hash_of(refresh_token))
        if found is None:
            raise UnknownRefreshTokenError("Nobody was given this token; sign in again.")
        session, token = found
        user = await rows.users.find(session.user_id)
        if user is None:
            raise UnknownRefreshTokenError("Nobody was given this token; sign in again.")
        refreshed = session.refresh(now, times, generation=user.generation)
        if not token.was_stolen(now, times):
            await rows.sessions.save_token(token.use(now))
            await rows.sessions.save(refreshed)
            return await issue_token(rows, refreshed, user, now)
        # The end of the family must be committed, so the refusal is raised after the transaction.
        await rows.sessions.save(session.end(now, by_reuse=True))
    raise RefreshTokenReusedError("This token was used before, so its session was ended; sign in again.")
