"""Persons whom another issuer vouches for: whose user they are, who makes it, and what ends then, on every database."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from services.orders.domain.external_identity import ExternalPerson
from services.orders.domain.session import SessionTimes
from services.orders.domain.user import EmailTakenError, Role, User
from services.orders.outbound.passwords import Argon2Passwords
from services.orders.outbound.store import SqlIdentityStore
from services.orders.use_cases.authenticate import authenticate
from services.orders.use_cases.bootstrap_users import BootstrapUser, bootstrap_users
from services.orders.use_cases.find_user import find_user
from services.orders.use_cases.issue_password_reset import issue_password_reset
from services.orders.use_cases.register_user import RegisterUser, register_user
from services.orders.use_cases.reset_password import reset_password
from services.orders.use_cases.rotate_session import rotate_session
from services.orders.use_cases.sign_in_externally import SignedIn, sign_in_externally
from services.orders.use_cases.start_session import start_session
from services.orders.wiring import MIGRATIONS
from services.runtime.database.migrations import migrate
from services.runtime.database_opening import open_database
from services.runtime.errors import RejectedError
from tests.support.clock import VirtualClock

ISSUER = "https://id.example.org/realms/staff"
EMAIL = "ann@example.org"
PASSWORD = "correct horse battery"
TIMES = SessionTimes(idle=timedelta(days=30), longest=timedelta(days=90), grace=timedelta(seconds=10))
AT_ONCE = 8


def a_person(
    subject: str = "ann", *, issuer: str = ISSUER, email: str = EMAIL, roles: set[Role] | None = None
) -> ExternalPerson:
    return ExternalPerson(issuer=issuer, subject=subject, verified_email=email, roles=frozenset(roles or {Role.BUYER}))


class Door:
    """The use cases on one database."""

    def __init__(self, store: SqlIdentityStore) -> None:
        self.store = store
        self.clock = VirtualClock()
        self.passwords = Argon2Passwords(memory_kibibytes=8, passes=1)

    async def sign_in(self, person: ExternalPerson, *, registers_unknown: bool = True) -> SignedIn:
        return await sign_in_externally(
            person,
            registers_unknown=registers_unknown,
            tokens_expire_at=self.clock.now() + timedelta(minutes=11),
            store=self.store,
            passwords=self.passwords,
            clock=self.clock,
        )

    async def register(self, email: str = EMAIL, *, role: Role = Role.MERCHANT) -> User:
        wanted = RegisterUser(email=email, password=PASSWORD, role=role)
        return await register_user(wanted, store=self.store, passwords=self.passwords, clock=self.clock)

    async def refusal(self, person: ExternalPerson, *, registers_unknown: bool = True) -> str:
        with pytest.raises(RejectedError) as refused:
            await self.sign_in(person, registers_unknown=registers_unknown)
        return refused.value.reason

    async def password_refusal(self, password: str = PASSWORD, email: str = EMAIL) -> tuple[str, str]:
        with pytest.raises(RejectedError) as refused:
            await authenticate(email, password, store=self.store, passwords=self.passwords)
        return refused.value.reason, refused.value.message


@pytest.fixture
async def store(engine_url: str) -> AsyncIterator[SqlIdentityStore]:
    database = open_database(engine_url)
    await migrate(database, MIGRATIONS)
    yield SqlIdentityStore(database)
    await database.close()


@pytest.fixture
def door(store: SqlIdentityStore) -> Iterator[Door]:
    door = Door(store)
    yield door
    door.passwords.close()


async def test_a_person_is_one_user_for_ever_whatever_the_address_becomes(door: Door) -> None:
    first = await door.sign_in(a_person())
    again = await door.sign_in(a_person(email="ann@elsewhere.example"), registers_unknown=False)
    without_address = await door.sign_in(a_person(email=""))

    assert first.user.email == EMAIL
    assert first.revoked is None
    assert again.user == without_address.user == first.user


async def test_many_first_sign_ins_at_once_make_one_user(door: Door) -> None:
    signed_in = await asyncio.gather(*(door.sign_in(a_person()) for _ in range(AT_ONCE)))

    assert len({one.user.user_id for one in signed_in}) == 1
    assert {one.revoked for one in signed_in} == {None}
    assert {one.user.generation for one in signed_in} == {0}


async def test_many_first_sign_ins_and_a_registration_at_once_end_in_one_user(door: Door) -> None:
    async def register() -> None:
        with suppress(EmailTakenError):
            await door.register()

    _, *signed_in = await asyncio.gather(register(), *(door.sign_in(a_person()) for _ in range(AT_ONCE)))

    the_user = await find_user(email=EMAIL, store=door.store)
    assert {one.user.user_id for one in signed_in if isinstance(one, SignedIn)} == {the_user.user_id}
    assert sum(one.revoked is not None for one in signed_in if isinstance(one, SignedIn)) == the_user.generation


async def test_many_first_sign_ins_at_once_take_an_account_over_once(door: Door) -> None:
    account = await door.register()

    signed_in = await asyncio.gather(*(door.sign_in(a_person()) for _ in range(AT_ONCE)))

    assert {one.user.user_id for one in signed_in} == {account.user_id}
    assert {one.user.generation for one in signed_in} == {1}
    assert [one.revoked.token_id for one in signed_in if one.revoked] == [f"{account.user_id}/0"]


async def test_what_somebody_else_began_with_the_address_ends_when_its_owner_comes(door: Door) -> None:
    account = await door.register()
    session = await start_session(account.user_id, store=door.store, clock=door.clock, times=TIMES)
    reset = await issue_password_reset(EMAIL, store=door.store, clock=door.clock)

    linked = await door.sign_in(a_person(email=" ANN@Example.org "))

    assert linked.user.user_id == account.user_id
    assert (await door.password_refusal())[0] == "bad_credentials"
    with pytest.raises(RejectedError, match="sign in again"):
        await rotate_session(session.refresh_token, store=door.store, clock=door.clock, times=TIMES)
    with pytest.raises(RejectedError) as refused:
        await reset_password(
            reset.token, PASSWORD, door.clock.now(), store=door.store, passwords=door.passwords, clock=door.clock
        )
    assert refused.value.reason == "reset_token_unknown"


async def test_an_account_that_was_there_keeps_its_roles_and_its_way_to_a_new_password(door: Door) -> None:
    await door.register(role=Role.MERCHANT)

    await door.sign_in(a_person(roles={Role.BUYER}))
    again = await door.sign_in(a_person(roles={Role.OPERATOR}))
    reset = await issue_password_reset(EMAIL, store=door.store, clock=door.clock)

    assert again.user.roles == {Role.MERCHANT}
    assert reset.user.user_id == again.user.user_id


async def test_the_issuer_decides_at_each_sign_in_what_a_user_may_do_who_was_made_for_it(door: Door) -> None:
    first = await door.sign_in(a_person(roles={Role.MERCHANT, Role.TREASURY}))
    later = await door.sign_in(a_person(roles={Role.BUYER}))

    assert first.user.roles == {Role.MERCHANT, Role.TREASURY}
    assert later.user.roles == {Role.BUYER}
    assert (await find_user(user_id=first.user.user_id, store=door.store)).roles == {Role.BUYER}


async def test_a_second_issuer_may_vouch_for_the_same_user_and_decides_no_roles(door: Door) -> None:
    first = await door.sign_in(a_person(roles={Role.BUYER}))

    second = await door.sign_in(a_person("0815", issuer="https://other.example", roles={Role.MERCHANT}))
    again = await door.sign_in(a_person("0815", issuer="https://other.example", roles={Role.MERCHANT}))

    assert second.user.user_id == again.user.user_id == first.user.user_id
    assert again.user.roles == {Role.BUYER}


async def test_what_one_issuer_makes_powerful_is_no_other_issuers(door: Door) -> None:
    maker, other = a_person(), a_person("0815", issuer="https://other.example")
    await door.sign_in(maker)
    linked = await door.sign_in(other)
    session = await start_session(linked.user.user_id, store=door.store, clock=door.clock, times=TIMES)

    powerful = await door.sign_in(a_person(roles={Role.TREASURY}))
    again = await door.sign_in(a_person(roles={Role.TREASURY}))

    assert powerful.user.roles == {Role.TREASURY}
    assert powerful.revoked is not None
    assert powerful.revoked.token_id == f"{linked.user.user_id}/{linked.user.generation}"
    assert again.revoked is None
    assert await door.refusal(other) == "account_not_linkable"
    with pytest.raises(RejectedError, match="sign in again"):
        await rotate_session(session.refresh_token, store=door.store, clock=door.clock, times=TIMES)


async def test_the_same_subject_of_another_issuer_is_another_person(door: Door) -> None:
    first = await door.sign_in(a_person("1"))

    other = await door.sign_in(a_person("1", issuer="https://other.example", email="bob@example.org"))

    assert other.user.user_id != first.user.user_id


async def test_who_was_made_by_an_issuer_has_no_password_and_gets_none(door: Door) -> None:
    await door.sign_in(a_person())

    assert await door.password_refusal() == await door.password_refusal(email="nobody@example.org")
    assert await door.password_refusal("") == await door.password_refusal("", email="nobody@example.org")
    with pytest.raises(RejectedError) as refused:
        await issue_password_reset(EMAIL, store=door.store, clock=door.clock)
    assert refused.value.reason == "password_at_issuer"


async def test_an_address_that_the_issuer_has_not_verified_opens_nothing(door: Door) -> None:
    account = await door.register()

    assert await door.refusal(a_person(email="")) == "email_not_verified"
    assert (await authenticate(EMAIL, PASSWORD, store=door.store, passwords=door.passwords)) == account


async def test_unknown_people_are_registered_only_where_that_is_wanted(door: Door) -> None:
    account = await door.register()

    assert (
        await door.refusal(a_person("bob", email="bob@example.org"), registers_unknown=False) == "user_not_registered"
    )
    linked = await door.sign_in(a_person(), registers_unknown=False)

    assert linked.user.user_id == account.user_id


@pytest.mark.parametrize("role", [Role.TREASURY, Role.OPERATOR])
async def test_a_powerful_account_is_nobodys_by_its_address_alone(door: Door, role: Role) -> None:
    wanted = BootstrapUser(email=EMAIL, password=PASSWORD, roles=frozenset({role, Role.BUYER}))
    await bootstrap_users([wanted], store=door.store, passwords=door.passwords, clock=door.clock)

    assert await door.refusal(a_person(roles={role})) == "account_not_linkable"
    assert (await authenticate(EMAIL, PASSWORD, store=door.store, passwords=door.passwords)).generation == 0


@pytest.mark.parametrize(
    ("person", "reason"),
    [
        (a_person(""), "invalid_external_identity"),
        (a_person("x" * 256), "invalid_external_identity"),
        (a_person("ä"), "invalid_external_identity"),
        (a_person(issuer=""), "invalid_external_identity"),
        (a_person(issuer="https://" + "x" * 255), "invalid_external_identity"),
        (a_person(email="no address"), "invalid_email"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_person_who_cannot_be_kept_is_refused(door: Door, person: ExternalPerson, reason: str) -> None:
    assert await door.refusal(person) == reason
