"""Begin a session: a family of refresh tokens."""

from uuid import UUID

from services.orders.domain.session import SessionTimes, begin_session
from services.orders.ports import IdentityStore
from services.orders.use_cases.refresh_token import IssuedToken, issue_token
from services.runtime.clock import Clock
from services.runtime.errors import NotFoundError
from services.runtime.ids import new_id


async def start_session(user_id: UUID, *, store: IdentityStore, clock: Clock, times: SessionTimes) -> IssuedToken:
    """Begin a session of a user who has just proven who it is.

    Raises:
        NotFoundError: `user_not_found`.
    """
    now = clock.now()
    async with store.transaction() as rows:
        user = await rows.users.find(user_id)
        if user is None:
            raise NotFoundError("There is no such user.", reason="user_not_found")
        session = begin_session(session_id=new_id(), user_id=user_id, now=now, times=times)
        await rows.sessions.add(session)
        return await issue_token(rows, session, user, now)
