import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from argon2 import Parameters, PasswordHasher, extract_parameters

from services.orders.domain.session import SessionTimes
from services.orders.domain.user import Role, User, normalise_email
from services.orders.identity_ports import RevokedToken
from services.orders.outbound.passwords import Argon2Passwords
from services.orders.outbound.store import SqlIdentityStore
from services.orders.use_cases.authenticate import authenticate
from services.orders.use_cases.bootstrap_users import BootstrapUser, bootstrap_users
from services.orders.use_cases.end_all_sessions import end_all_sessions
from services.orders.use_cases.end_session import end_session
from services.orders.use_cases.find_user import find_user
from services.orders.use_cases.forget_expired import ROWS_A_PASS_MAX, forget_expired
from services.orders.use_cases.issue_password_reset import issue_password_reset
from services.orders.use_cases.refresh_token import IssuedToken
from services.orders.use_cases.register_user import RegisterUser, register_user
from services.orders.use_cases.reset_password import reset_password
from services.orders.use_cases.revoke_access_token import list_revoked_access_tokens, revoke_access_token
from services.orders.use_cases.rotate_session import rotate_session
from services.orders.use_cases.start_session import start_session
from services.runtime.database.migrations import migrate
from services.runtime.database.sqlite import SqliteDatabase
from services.runtime.errors import (
    ConflictError,
    ForbiddenError,
    InvalidArgumentError,
    NotFoundError,
    RejectedError,
    UnauthenticatedError,
)
from services.runtime.ids import new_id
from tests.support.clock import VirtualClock

TIMES = SessionTimes(idle=timedelta(days=30), longest=timedelta(days=90), grace=timedelta(seconds=10))
PASSWORD = "correct horse battery"
DAY_SECONDS = 24 * 3600


@dataclass(kw_only=True)
class People:
    """The identity use cases on a real database, with cheap hashes."""

    database: SqliteDatabase
    store: SqlIdentityStore
    passwords: Argon2Passwords
    clock: VirtualClock

    async def register(
        self, email: str = "ann@example.org", *, password: str = PASSWORD, role: Role = Role.BUYER
    ) -> User:
        wanted = RegisterUser(email=email, password=password, role=role)
        return await register_user(wanted, store=self.store, passwords=self.passwords, clock=self.clock)

    async def authenticate(self, email: str, password: str) -> User:
        return await authenticate(email, password, store=self.store, passwords=self.passwords)

    async def start(self, user: User) -> IssuedToken:
        return await start_session(user.user_id, store=self.store, clock=self.clock, times=TIMES)

    async def end_all(self, user: User) -> RevokedToken:
        until = self.clock.now() + timedelta(minutes=10)
        return await end_all_sessions(user.user_id, until, store=self.store, clock=self.clock)

    async def reset(self, token: str, password: str) -> RevokedToken:
        until = self.clock.now() + timedelta(minutes=10)
        return await reset_password(
            token, password, until, store=self.store, passwords=self.passwords, clock=self.clock
        )

    async def rotate(self, refresh_token: str) -> IssuedToken:
        return await rotate_session(refresh_token, store=self.store, clock=self.clock, times=TIMES)


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[People]:
    database = SqliteDatabase(tmp_path / "orders.db")
    await migrate(database, "services.orders.migrations")
    passwords = Argon2Passwords(memory_kibibytes=8, passes=1)
    yield People(database=database, store=SqlIdentityStore(database), passwords=passwords, clock=VirtualClock())
    passwords.close()
    await database.close()


async def test_who_registered_can_sign_in_however_the_address_is_written(people: People) -> None:
    registered = await people.register(" Ann@Example.ORG ")

    assert registered.email == "ann@example.org"
    assert registered.roles == frozenset({Role.BUYER})
    assert await people.authenticate("ANN@example.org", PASSWORD) == registered
    assert await find_user(email="Ann@example.org", store=people.store) == registered
    assert await find_user(user_id=registered.user_id, store=people.store) == registered


async def test_an_address_is_registered_once(people: People) -> None:
    await people.register()

    with pytest.raises(ConflictError) as taken:
        await people.register("ANN@EXAMPLE.ORG")

    assert taken.value.reason == "email_taken"


@pytest.mark.parametrize(
    ("email", "password"),
    [("ann@example.org", "wrong password"), ("bob@example.org", PASSWORD), ("no address", PASSWORD), ("", "")],
)
async def test_a_wrong_password_and_an_unknown_address_are_told_the_same(
    people: People, email: str, password: str
) -> None:
    await people.register()

    with pytest.raises(UnauthenticatedError) as refused:
        await people.authenticate(email, password)

    assert refused.value.reason == "bad_credentials"
    assert refused.value.message == "The address or the password is wrong."


@pytest.mark.parametrize("role", [Role.TREASURY, Role.OPERATOR])
async def test_powerful_roles_are_never_given_by_registration(people: People, role: Role) -> None:
    with pytest.raises(ForbiddenError):
        await people.register(role=role)


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ann",
        "@example.org",
        "ann@",
        "a b@example.org",
        "ann@exa mple.org",
        "a@b@c",
        "ann@.org",
        "x" * 250 + "@e.org",
        "ann\x00@example.org",
    ],
)
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(InvalidArgumentError) as invalid:
        normalise_email(email)

    assert invalid.value.reason == "invalid_email"


@pytest.mark.parametrize("password", ["seven77", "x" * 257])
async def test_passwords_have_a_length(people: People, password: str) -> None:
    with pytest.raises(InvalidArgumentError) as invalid:
        await people.register(password=password)

    assert invalid.value.reason == "invalid_password"


async def test_nobody_is_found_where_nobody_is(people: People) -> None:
    with pytest.raises(NotFoundError):
        await find_user(email="nobody@example.org", store=people.store)
    with pytest.raises(NotFoundError):
        await find_user(user_id=new_id(), store=people.store)


async def test_passwords_are_kept_as_hashes_of_the_owasp_strength() -> None:
    passwords = Argon2Passwords()

    kept = await passwords.hash(PASSWORD)

    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.matches(kept, PASSWORD)
    assert not await passwords.matches(kept, "wrong")
    passwords.close()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Parameters]:
    """See what argon2 is made to work, as the parameters of each hash."""
    seen: list[Parameters] = []
    verify, hash_anew = PasswordHasher.verify, PasswordHasher.hash

    def watched_verify(hasher: PasswordHasher, kept: str, password: str) -> bool:
        seen.append(extract_parameters(kept))
        return verify(hasher, kept, password)

    def watched_hash(hasher: PasswordHasher, password: str) -> str:
        made = hash_anew(hasher, password)
        seen.append(extract_parameters(made))
        return made

    monkeypatch.setattr(PasswordHasher, "verify", watched_verify)
    monkeypatch.setattr(PasswordHasher, "hash", watched_hash)
    return seen


async def test_an_unknown_address_costs_the_same_hashing_as_a_wrong_password(
    people: People, hashed: list[Parameters]
) -> None:
    await people.register()
    work = {}
    for email in ("ann@example.org", "bob@example.org", "no address", "", "x" * 300):
        hashed.clear()
        with pytest.raises(UnauthenticatedError):
            await people.authenticate(email, "not this one")
        work[email] = list(hashed)

    (parameters,) = work["ann@example.org"]
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (8, 1, 1)
    assert all(done == [parameters] for done in work.values()), work


async def test_the_password_of_nobody_opens_nothing() -> None:
    passwords = Argon2Passwords(memory_kibibytes=64, passes=3)

    assert not await passwords.matches(None, "nobody has this password")
    passwords.close()


async def test_an_old_hash_is_renewed_when_its_owner_signs_in(people: People) -> None:
    user = await people.register()
    stronger = Argon2Passwords(memory_kibibytes=16, passes=1)

    await authenticate(user.email, PASSWORD, store=people.store, passwords=stronger)

    async with people.store.transaction() as rows:
        renewed = await rows.users.password_hash_of(user.user_id)
    assert "m=16," in renewed
    assert await people.authenticate(user.email, PASSWORD) == user
    stronger.close()


async def test_bootstrap_makes_who_is_absent_and_leaves_who_is_there(people: People) -> None:
    wanted = [BootstrapUser(email="Till@example.org", password=PASSWORD, roles=frozenset({Role.TREASURY}))]
    await bootstrap_users(wanted, store=people.store, passwords=people.passwords, clock=people.clock)
    till = await people.authenticate("till@example.org", PASSWORD)

    await bootstrap_users(wanted, store=people.store, passwords=people.passwords, clock=people.clock)

    assert till.roles == frozenset({Role.TREASURY})
    assert await people.authenticate("till@example.org", PASSWORD) == till


async def test_a_refresh_token_has_a_successor(people: People) -> None:
    user = await people.register()
    first = await people.start(user)

    second = await people.rotate(first.refresh_token)
    third = await people.rotate(second.refresh_token)

    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    assert third.user == user


async def test_only_hashes_of_refresh_tokens_are_stored(people: People) -> None:
    issued = await people.start(await people.register())

    assert issued.refresh_token.encode() not in people.database.path.read_bytes()


async def test_a_lost_answer_is_forgiven_for_a_moment(people: People) -> None:
    first = await people.start(await people.register())
    await people.rotate(first.refresh_token)
    await people.clock.advance(10)

    again = await people.rotate(first.refresh_token)

    assert (await people.rotate(again.refresh_token)).user == again.user


async def test_a_token_used_again_later_ends_the_whole_family(people: People) -> None:
    first = await people.start(await people.register())
    second = await people.rotate(first.refresh_token)
    await people.clock.advance(11)

    for token in (first, second, first):
        with pytest.raises(UnauthenticatedError) as reused:
            await people.rotate(token.refresh_token)
        assert reused.value.reason == "refresh_token_reused"


async def test_another_session_of_the_same_user_lives_on(people: People) -> None:
    user = await people.register()
    stolen, other = await people.start(user), await people.start(user)
    await people.rotate(stolen.refresh_token)
    await people.clock.advance(11)
    with pytest.raises(UnauthenticatedError):
        await people.rotate(stolen.refresh_token)

    assert (await people.rotate(other.refresh_token)).user == user


async def test_an_ended_session_has_no_successors(people: People) -> None:
    first = await people.start(await people.register())
    second = await people.rotate(first.refresh_token)

    await end_session(first.refresh_token, store=people.store, clock=people.clock)

    with pytest.raises(UnauthenticatedError) as ended:
        await people.rotate(second.refresh_token)
    assert ended.value.reason == "session_ended"


async def test_all_sessions_of_a_user_end_together_and_nobody_elses(people: People) -> None:
    ann, bob = await people.register(), await people.register("bob@example.org")
    first, second, other = await people.start(ann), await people.start(ann), await people.start(bob)
    second = await people.rotate(second.refresh_token)

    await people.end_all(ann)

    for token in (first, second):
        with pytest.raises(UnauthenticatedError) as ended:
            await people.rotate(token.refresh_token)
        assert ended.value.reason == "session_ended"
    assert (await people.rotate(other.refresh_token)).user == bob


async def test_who_signs_in_right_after_all_sessions_ended_stays_in(people: People) -> None:
    user = await people.register()
    await people.end_all(user)

    again = await people.authenticate(user.email, PASSWORD)
    issued = await start_session(
        again.user_id, generation=again.generation, store=people.store, clock=people.clock, times=TIMES
    )

    assert again.generation == 1
    assert (await people.rotate(issued.refresh_token)).user == again


async def test_a_proof_from_before_all_sessions_ended_begins_none(people: People) -> None:
    user = await people.register()
    proven = await people.authenticate(user.email, PASSWORD)
    await people.end_all(user)

    with pytest.raises(UnauthenticatedError) as refused:
        await start_session(
            proven.user_id, generation=proven.generation, store=people.store, clock=people.clock, times=TIMES
        )

    assert refused.value.reason == "bad_credentials"


async def test_the_tokens_of_each_generation_are_revoked_under_its_own_name(people: People) -> None:
    user = await people.register()

    ended = [(await people.end_all(user)).token_id for _ in range(2)]
    listed = await list_revoked_access_tokens(store=people.store, clock=people.clock)

    assert ended == [f"{user.user_id}/0", f"{user.user_id}/1"]
    assert {token.token_id for token in listed} == set(ended)


async def test_sessions_of_nobody_can_not_be_ended(people: People) -> None:
    with pytest.raises(NotFoundError):
        await end_all_sessions(new_id(), people.clock.now(), store=people.store, clock=people.clock)


async def test_who_forgot_the_password_sets_a_new_one_once(people: People) -> None:
    user = await people.register()
    issued = await issue_password_reset(" Ann@Example.ORG", store=people.store, clock=people.clock)

    await people.reset(issued.token, "another horse battery")

    assert (await people.authenticate(user.email, "another horse battery")).user_id == user.user_id
    with pytest.raises(UnauthenticatedError):
        await people.authenticate(user.email, PASSWORD)
    with pytest.raises(UnauthenticatedError) as used:
        await people.reset(issued.token, "a third horse battery")
    assert used.value.reason == "reset_token_unknown"


async def test_a_new_password_ends_all_sessions_and_whatever_else_was_under_way(people: People) -> None:
    user = await people.register()
    session = await people.start(user)
    proven = await people.authenticate(user.email, PASSWORD)
    first, second = [await issue_password_reset(user.email, store=people.store, clock=people.clock) for _ in range(2)]

    revoked = await people.reset(second.token, "another horse battery")

    assert revoked.token_id == f"{user.user_id}/0"
    assert await list_revoked_access_tokens(store=people.store, clock=people.clock) == [revoked]
    with pytest.raises(UnauthenticatedError):
        await people.rotate(session.refresh_token)
    with pytest.raises(UnauthenticatedError):
        await start_session(proven.user_id, generation=0, store=people.store, clock=people.clock, times=TIMES)
    with pytest.raises(UnauthenticatedError):
        await people.reset(first.token, "a third horse battery")


async def test_a_token_to_set_a_password_is_good_for_half_an_hour(people: People) -> None:
    user = await people.register()
    early = await issue_password_reset(user.email, store=people.store, clock=people.clock)
    await people.clock.advance(1)
    late = await issue_password_reset(user.email, store=people.store, clock=people.clock)
    await people.clock.advance(1799)

    with pytest.raises(UnauthenticatedError):
        await people.reset(early.token, "another horse battery")
    assert await forget_expired(store=people.store, clock=people.clock) == 1
    await people.reset(late.token, "another horse battery")


async def test_of_two_uses_of_one_token_at_once_one_sets_the_password(people: People) -> None:
    user = await people.register()
    issued = await issue_password_reset(user.email, store=people.store, clock=people.clock)

    done = await asyncio.gather(
        *(people.reset(issued.token, f"horse battery {number}") for number in range(4)), return_exceptions=True
    )

    assert sorted(type(one).__name__ for one in done) == ["RevokedToken"] + ["UnknownResetTokenError"] * 3
    assert (await find_user(email=user.email, store=people.store)).generation == 1


async def test_a_short_password_uses_no_token_up(people: People) -> None:
    user = await people.register()
    issued = await issue_password_reset(user.email, store=people.store, clock=people.clock)

    with pytest.raises(InvalidArgumentError):
        await people.reset(issued.token, "short")

    await people.reset(issued.token, "another horse battery")


async def test_only_hashes_of_tokens_that_set_passwords_are_stored(people: People) -> None:
    await people.register()
    issued = await issue_password_reset("ann@example.org", store=people.store, clock=people.clock)

    files = people.database.path.parent.glob("orders.db*")
    assert not any(issued.token.encode() in file.read_bytes() for file in files)
    assert issued.token not in repr(issued)


async def test_nobody_gets_a_token_to_set_a_password(people: People) -> None:
    with pytest.raises(NotFoundError):
        await issue_password_reset("nobody@example.org", store=people.store, clock=people.clock)


async def test_a_sign_in_that_renews_an_old_hash_leaves_a_password_that_was_set_meanwhile(people: People) -> None:
    user = await people.register()
    issued = await issue_password_reset(user.email, store=people.store, clock=people.clock)

    class ResetMeanwhile(Argon2Passwords):
        async def hash(self, password: str) -> str:
            await people.reset(issued.token, "another horse battery")
            return await super().hash(password)

    stronger = ResetMeanwhile(memory_kibibytes=16, passes=1)
    await authenticate(user.email, PASSWORD, store=people.store, passwords=stronger)
    stronger.close()

    assert (await people.authenticate(user.email, "another horse battery")).user_id == user.user_id


async def test_unknown_tokens_end_nothing_and_get_nothing(people: People) -> None:
    await end_session("never given", store=people.store, clock=people.clock)

    with pytest.raises(UnauthenticatedError) as unknown:
        await people.rotate("never given")
    assert unknown.value.reason == "refresh_token_unknown"


async def test_a_session_that_nobody_refreshes_runs_out(people: People) -> None:
    issued = await people.start(await people.register())
    await people.clock.advance(30 * DAY_SECONDS)

    with pytest.raises(UnauthenticatedError) as ended:
        await people.rotate(issued.refresh_token)

    assert issued.expires_at == people.clock.now()
    assert ended.value.reason == "session_ended"


async def test_a_session_ends_in_the_end_however_often_it_is_refreshed(people: People) -> None:
    issued = await people.start(await people.register())
    for _ in range(4):
        await people.clock.advance(20 * DAY_SECONDS)
        issued = await people.rotate(issued.refresh_token)
    await people.clock.advance(10 * DAY_SECONDS)

    with pytest.raises(UnauthenticatedError):
        await people.rotate(issued.refresh_token)


async def test_a_session_belongs_to_somebody(people: People) -> None:
    with pytest.raises(NotFoundError):
        await start_session(new_id(), store=people.store, clock=people.clock, times=TIMES)


async def test_revocations_are_remembered_until_they_expire(people: People) -> None:
    now = people.clock.now()
    for name, seconds in (("old", 5), ("one", 60), ("one", 60), ("past", -1)):
        await revoke_access_token(name, now + timedelta(seconds=seconds), store=people.store, clock=people.clock)
    await people.clock.advance(10)
    await revoke_access_token("two", now + timedelta(seconds=60), store=people.store, clock=people.clock)

    listed = await list_revoked_access_tokens(store=people.store, clock=people.clock)

    assert [token.token_id for token in listed] == ["two", "one"]


async def test_a_token_id_has_a_length(people: People) -> None:
    with pytest.raises(RejectedError):
        await revoke_access_token("", people.clock.now() + timedelta(1), store=people.store, clock=people.clock)


async def test_a_session_of_many_tokens_is_forgotten_in_bounded_steps(people: People) -> None:
    user = await people.register()
    for _ in range(2):
        token = (await people.start(user)).refresh_token
        for _ in range(ROWS_A_PASS_MAX // 2 + 10):
            token = (await people.rotate(token)).refresh_token
    await people.clock.advance(31 * DAY_SECONDS)

    steps = []
    while step := await forget_expired(store=people.store, clock=people.clock):
        steps.append(step)

    assert steps == [ROWS_A_PASS_MAX, 2 * 11 + 2]


async def test_revocations_and_resets_are_forgotten_in_bounded_steps(people: People) -> None:
    expires_at = people.clock.now() + timedelta(seconds=1)
    async with people.store.transaction() as rows:
        for number in range(ROWS_A_PASS_MAX + 1):
            await rows.revocations.add(RevokedToken(token_id=str(number), expires_at=expires_at), people.clock.now())
            await rows.resets.add(number.to_bytes(32), new_id(), expires_at)
    await people.clock.advance(1)

    steps = [await forget_expired(store=people.store, clock=people.clock) for _ in range(3)]

    assert steps == [2 * ROWS_A_PASS_MAX, 2, 0]


async def test_what_has_expired_is_forgotten_and_the_rest_is_not(people: People) -> None:
    user = await people.register()
    old = await people.start(user)
    await revoke_access_token("t", people.clock.now() + timedelta(1), store=people.store, clock=people.clock)
    await people.clock.advance(29 * DAY_SECONDS)
    young = await people.start(user)
    await people.clock.advance(DAY_SECONDS)

    forgotten = await forget_expired(store=people.store, clock=people.clock)

    assert forgotten == 3, "a session with its token, and a revocation"
    with pytest.raises(UnauthenticatedError) as unknown:
        await people.rotate(old.refresh_token)
    assert unknown.value.reason == "refresh_token_unknown"
    assert (await people.rotate(young.refresh_token)).user == user
