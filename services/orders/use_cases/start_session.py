"""Begin a session: a family of refresh tokens."""

from uuid import UUID

from services.orders.domain.session import SessionTimes, begin_session
from services.orders.domain.user import BadCredentialsError
from services.orders.identity_ports import IdentityStore
from services.orders.use_cases.refresh_token import IssuedToken, issue_token
from services.runtime.clock import Clock
from services.runtime.errors import NotFoundError
from services.runtime.ids import new_id


async def start_session(
    user_id: UUID, *, generation: int | None = None, store: IdentityStore, clock: Clock, times: SessionTimes
) -> IssuedToken:
    """Begin a session of a user who has just proven who it is.

    Args:
        user_id: Who.
        generation: The user's when that was proven: if all sessions end between the proof and here, this one has ended
            with them. None from callers that don't tell.
        store: Where sessions are.
        clock: Tells now.
        times: How long sessions live.

    Raises:
        NotFoundError: `user_not_found`.
        UnauthenticatedError: `bad_credentials`: all sessions were ended since the proof.
    """
    now = clock.now()
    async with store.transaction() as rows:
        user = await rows.users.find(user_id)
        if user is None:
            raise NotFoundError("There is no such user.", reason="user_not_found")
        proven_in = user.generation if generation is None else generation
        if proven_in != user.generation:
            raise BadCredentialsError("All sessions were ended at this moment; sign in again.")
        session = begin_session(session_id=new_id(), user_id=user_id, generation=proven_in, now=now, times=times)
        await rows.sessions.add(session)
        return await issue_token(rows, session, user, now)
