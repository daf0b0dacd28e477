"""Whether a token was revoked, with and without the parts that know."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from services.gateway import revocation
from services.gateway.ports import RevokedToken
from services.gateway.revocation import ISSUING_SECONDS_MAX, FailureMode, Revocations
from services.runtime.clock import EPOCH
from services.runtime.errors import UnavailableError
from services.runtime.jwt import Principal
from tests.support.clock import VirtualClock


@dataclass
class FakeDurable:
    tokens: list[RevokedToken] = field(default_factory=list)
    generations: dict[str, int] = field(default_factory=dict)
    is_down: bool = False
    reads: int = 0

    async def revoke_access_token(self, token: RevokedToken) -> None:
        if self.is_down:
            raise UnavailableError("away")
        self.tokens.append(token)

    async def end_all_sessions(self, user_id: str, *, tokens_expire_at: datetime) -> RevokedToken:
        if self.is_down:
            raise UnavailableError("away")
        ended = self.generations.get(user_id, 0)
        self.generations[user_id] = ended + 1
        self.tokens.append(RevokedToken(token_id=f"{user_id}/{ended}", expires_at=tokens_expire_at))
        return self.tokens[-1]

    async def list_revoked_access_tokens(self) -> list[RevokedToken]:
        self.reads += 1
        if self.is_down:
            raise UnavailableError("away")
        return list(self.tokens)


@dataclass
class FakeCache:
    known: set[str] = field(default_factory=set)
    is_complete: bool = False
    is_down: bool = False

    async def add(self, tokens: Sequence[RevokedToken]) -> None:
        self._check()
        self.known |= {token.token_id for token in tokens}

    async def mark_complete(self) -> None:
        self._check()
        self.is_complete = True

    async def look_up(self, token_ids: Sequence[str]) -> bool | None:
        self._check()
        if not self.known.isdisjoint(token_ids):
            return True
        return False if self.is_complete else None

    def _check(self) -> None:
        if self.is_down:
            raise UnavailableError("away")


class World:
    def __init__(self, failure_mode: FailureMode = "open") -> None:
        self.clock = VirtualClock()
        self.durable = FakeDurable()
        self.cache = FakeCache()
        self.revocations = Revocations(
            durable=self.durable,
            cache=self.cache,
            clock=self.clock,
            failure_mode=failure_mode,
            user_token_seconds=600,
        )

    def token(self, name: str = "t1") -> RevokedToken:
        return RevokedToken(token_id=name, expires_at=self.clock.now() + timedelta(minutes=10))


def caller(name: str = "t1", *, user_id: str = "ann", generation: int = 0) -> Principal:
    return Principal(
        subject=user_id,
        roles=frozenset({"buyer"}),
        audience="tradeflow",
        token_id=name,
        expires_at=EPOCH,
        token="",
        generation=generation,
    )


@pytest.fixture(autouse=True)
def read_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation, "REREAD_SECONDS", 0.0)
    monkeypatch.setattr(revocation, "RETRY_SECONDS", 0.0)


async def test_a_complete_cache_is_believed_without_asking_further() -> None:
    world = World()
    world.cache.is_complete = True

    assert not await world.revocations.is_revoked(caller("t1"))
    assert world.durable.reads == 0


async def test_an_emptied_cache_is_filled_from_the_durable_list() -> None:
    world = World()
    world.durable.tokens = [world.token()]

    assert await world.revocations.is_revoked(caller("t1"))
    assert not await world.revocations.is_revoked(caller("t2"))
    assert world.durable.reads == 1
    assert world.cache.known == {"t1"}


async def test_a_revocation_is_durable_before_it_is_shared() -> None:
    world = World()
    world.durable.is_down = True

    with pytest.raises(UnavailableError):
        await world.revocations.revoke(world.token())

    assert world.cache.known == set()


async def test_a_revocation_that_the_cache_did_not_get_holds_here_all_the_same() -> None:
    world = World()
    world.cache.is_complete = world.cache.is_down = True

    await world.revocations.revoke(world.token())
    world.cache.is_down = False

    assert await world.revocations.is_revoked(caller("t1"))
    assert world.durable.tokens == [world.token()]


async def test_without_a_cache_the_durable_list_decides() -> None:
    world = World("closed")
    world.cache.is_down = True
    world.durable.tokens = [world.token()]

    assert await world.revocations.is_revoked(caller("t1"))
    assert not await world.revocations.is_revoked(caller("t2"))


async def test_without_both_the_failure_mode_decides() -> None:
    for mode in ("open", "closed"):
        world = World(mode)
        world.cache.is_down = world.durable.is_down = True

        if mode == "open":
            assert not await world.revocations.is_revoked(caller("t1"))
        else:
            with pytest.raises(UnavailableError):
                await world.revocations.is_revoked(caller("t1"))


async def test_what_is_known_to_be_revoked_stays_so_without_both() -> None:
    world = World()
    await world.revocations.revoke(world.token())
    world.cache.is_down = world.durable.is_down = True

    assert await world.revocations.is_revoked(caller("t1"))


async def test_revocations_are_forgotten_when_their_tokens_have_ended() -> None:
    world = World()
    world.cache.is_down = True
    await world.revocations.revoke(world.token("old"))
    world.durable.tokens = []
    await world.clock.advance(700)

    await world.revocations.revoke(world.token("new"))

    assert not await world.revocations.is_revoked(caller("old"))
    assert await world.revocations.is_revoked(caller("new"))


async def test_all_tokens_of_a_user_are_revoked_together_and_nobody_elses() -> None:
    world = World()
    world.cache.is_complete = True

    await world.revocations.revoke_all("ann")

    assert await world.revocations.is_revoked(caller("t1"))
    assert await world.revocations.is_revoked(caller("t2"))
    assert not await world.revocations.is_revoked(caller("t3", user_id="bob"))


async def test_a_token_issued_right_after_all_were_revoked_is_good_at_the_same_instant() -> None:
    world = World()
    world.cache.is_complete = True

    await world.revocations.revoke_all("ann")
    generation = world.durable.generations["ann"]

    assert not await world.revocations.is_revoked(caller("t2", generation=generation))
    await world.revocations.revoke_all("ann")
    assert await world.revocations.is_revoked(caller("t2", generation=generation))
    assert await world.revocations.is_revoked(caller("t1", generation=0))


async def test_the_end_of_a_generation_is_heard_of_from_the_durable_list() -> None:
    world, other = World(), World()
    other.durable = world.durable
    other.revocations = Revocations(
        durable=world.durable, cache=other.cache, clock=other.clock, failure_mode="open", user_token_seconds=600
    )

    await world.revocations.revoke_all("ann")

    assert await other.revocations.is_revoked(caller("t1"))
    assert not await other.revocations.is_revoked(caller("t2", generation=1))


async def test_a_generations_end_is_remembered_for_longer_than_any_of_its_tokens_lives() -> None:
    world = World()
    world.cache.is_down = True
    await world.revocations.revoke_all("ann")
    world.durable.tokens = []

    await world.clock.advance(600 + ISSUING_SECONDS_MAX)
    await world.revocations.revoke(world.token("another"))

    assert await world.revocations.is_revoked(caller("t1"))


async def test_nothing_is_revoked_where_orders_could_not_end_the_sessions() -> None:
    world = World()
    world.cache.is_complete = world.durable.is_down = True

    with pytest.raises(UnavailableError):
        await world.revocations.revoke_all("ann")

    assert not await world.revocations.is_revoked(caller("t1"))
