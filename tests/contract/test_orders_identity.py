"""Ends of sessions and resets of passwords take turns, on every database."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from services.orders.domain.session import SessionTimes
from services.orders.domain.user import Role, User
from services.orders.identity_ports import RevokedToken
from services.orders.outbound.passwords import Argon2Passwords
from services.orders.outbound.store import SqlIdentityStore
from services.orders.use_cases.authenticate import authenticate
from services.orders.use_cases.end_all_sessions import end_all_sessions
from services.orders.use_cases.forget_expired import forget_expired
from services.orders.use_cases.issue_password_reset import issue_password_reset
from services.orders.use_cases.register_user import RegisterUser, register_user
from services.orders.use_cases.reset_password import reset_password
from services.orders.use_cases.revoke_access_token import list_revoked_access_tokens
from services.orders.use_cases.rotate_session import rotate_session
from services.orders.use_cases.start_session import start_session
from services.orders.wiring import MIGRATIONS
from services.runtime.database.migrations import migrate
from services.runtime.database_opening import open_database
from services.runtime.errors import UnauthenticatedError
from tests.support.clock import VirtualClock

ANN = RegisterUser(email="ann@example.org", password="correct horse battery", role=Role.BUYER)
TIMES = SessionTimes(idle=timedelta(days=30), longest=timedelta(days=90), grace=timedelta(seconds=10))
AT_ONCE = 6


@pytest.fixture
async def store(engine_url: str) -> AsyncIterator[SqlIdentityStore]:
    database = open_database(engine_url)
    await migrate(database, MIGRATIONS)
    yield SqlIdentityStore(database)
    await database.close()


@pytest.fixture
def passwords() -> Iterator[Argon2Passwords]:
    passwords = Argon2Passwords(memory_kibibytes=8, passes=1)
    yield passwords
    passwords.close()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def ann(store: SqlIdentityStore, passwords: Argon2Passwords, clock: VirtualClock) -> User:
    return await register_user(ANN, store=store, passwords=passwords, clock=clock)


async def test_each_end_of_all_sessions_has_a_generation_of_its_own(
    store: SqlIdentityStore, passwords: Argon2Passwords, clock: VirtualClock, ann: User
) -> None:
    before = await start_session(ann.user_id, generation=0, store=store, clock=clock, times=TIMES)
    until = clock.now() + timedelta(minutes=10)

    await asyncio.gather(*(end_all_sessions(ann.user_id, until, store=store, clock=clock) for _ in range(AT_ONCE)))

    listed = await list_revoked_access_tokens(store=store, clock=clock)
    assert {token.token_id for token in listed} == {f"{ann.user_id}/{number}" for number in range(AT_ONCE)}
    again = await authenticate(ANN.email, ANN.password, store=store, passwords=passwords)
    assert again.generation == AT_ONCE
    after = await start_session(ann.user_id, generation=AT_ONCE, store=store, clock=clock, times=TIMES)
    await rotate_session(after.refresh_token, store=store, clock=clock, times=TIMES)
    with pytest.raises(UnauthenticatedError):
        await rotate_session(before.refresh_token, store=store, clock=clock, times=TIMES)


async def test_of_many_resets_of_one_user_at_once_one_sets_the_password(
    store: SqlIdentityStore, passwords: Argon2Passwords, clock: VirtualClock, ann: User
) -> None:
    issued = [await issue_password_reset(ann.email, store=store, clock=clock) for _ in range(2)]
    until = clock.now() + timedelta(minutes=10)

    done = await asyncio.gather(
        *(
            reset_password(
                issued[number % 2].token,
                f"horse battery {number}",
                until,
                store=store,
                passwords=passwords,
                clock=clock,
            )
            for number in range(AT_ONCE)
        ),
        return_exceptions=True,
    )

    (winner,) = [number for number, one in enumerate(done) if isinstance(one, RevokedToken)]
    refused = [one for number, one in enumerate(done) if number != winner]
    assert {getattr(one, "reason", one) for one in refused} == {"reset_token_unknown"}
    user = await authenticate(ann.email, f"horse battery {winner}", store=store, passwords=passwords)
    assert user.generation == 1


async def test_resets_that_nobody_used_are_forgotten(store: SqlIdentityStore, clock: VirtualClock, ann: User) -> None:
    await issue_password_reset(ann.email, store=store, clock=clock)
    await clock.advance(900)
    await issue_password_reset(ann.email, store=store, clock=clock)
    await clock.advance(900)

    assert await forget_expired(store=store, clock=clock) == 1
    assert await forget_expired(store=store, clock=clock) == 0
