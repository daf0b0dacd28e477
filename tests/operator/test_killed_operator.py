"""The operator is killed again and again during a topic's, a schema's and a key set's life, on real servers.

Afterwards all is as if it had lived: nothing is left undone, nothing was done twice, and at no moment was there a set
without exactly one key that signs.

One seed alone: `.venv/bin/pytest "tests/operator/test_killed_operator.py" -k "seed-7"`.
"""

from collections import Counter, deque
from pathlib import Path
from random import Random

import pytest

from tests.operator.key_sets import KEY_SET, active_kids, keys_in
from tests.operator.lives import BRIEFLY, NAME, SCHEMA, TOPIC, Lives, Move
from tests.operator.mortal_operator import MortalOperator, mortal_operator
from tests.operator.object_watch import ObjectWatch, watching
from tests.support.operator_shop import OperatorShop
from tests.support.waiting import wait_until

SEEDS = range(8)

SOAK_SEEDS = range(SEEDS.stop, SEEDS.stop + 40)

KILLS_OF_CHANGES = 6

KILLS_OF_ENDINGS = 5

MOVES_MAX = 3
"""Between two kills."""

WRITES_OF_A_SECRET = 3
"""The first key, one for the rotation that was asked for, one for the revocation."""


@pytest.mark.timeout(400)  # usually twenty; a dozen operators start on a busy machine
@pytest.mark.parametrize(
    "seed",
    [*SEEDS, *(pytest.param(seed, marks=pytest.mark.soak) for seed in SOAK_SEEDS)],
    ids=lambda seed: f"seed-{seed}",
)
def test_an_operator_that_is_killed_at_any_moment_loses_nothing_and_does_nothing_twice(
    shop: OperatorShop, tmp_path: Path, seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - a seed that can be run again
    lives = Lives(shop, chance)
    with (
        watching(shop.namespace, "secrets", NAME, tmp_path) as secret,
        mortal_operator(shop.namespace, tmp_path, chance) as operator,
    ):
        live_through(lives, operator, lives.changes(), kills=KILLS_OF_CHANGES, chance=chance)
        assert_all_is_as_asked(lives)
        assert_written_once(lives, secret)
        kids = lives.kids()

        operator.lives[-1].kill()
        live_through(lives, operator, lives.endings(), kills=KILLS_OF_ENDINGS, chance=chance)
        assert_all_is_gone(lives)
        assert lives.kids() == kids
        assert_written_once(lives, secret)
        assert operator.bugs() == []


def live_through(lives: Lives, operator: MortalOperator, moves: deque[Move], *, kills: int, chance: Random) -> None:
    """Make all moves, some while an operator lives and some while none does, and leave one alive."""
    for _ in range(kills):
        make_moves(moves, chance.randint(0, MOVES_MAX))
        operator.begin()
        make_moves(moves, chance.randint(0, MOVES_MAX))
        operator.die()
        lives.look()
    operator.begin()
    while moves:
        make_moves(moves, 1)


def make_moves(moves: deque[Move], count: int) -> None:
    """Make the next ones; one whose time hasn't come has to wait, and so has what comes after it."""
    for _ in range(min(count, len(moves))):
        if not moves[0]():
            return
        moves.popleft()


def assert_all_is_as_asked(lives: Lives) -> None:
    shop = lives.shop
    shop.wait_for(TOPIC, NAME, "True", "InSync")
    shop.wait_for(SCHEMA, NAME, "True", "InSync")
    shop.wait_for(KEY_SET, NAME, "True")
    wait_until(lives.has_begun_the_rotation, "no rotation was begun")
    wait_until(lambda: not {*lives.revoked} & {*lives.kids()}, "the revoked key is still there")
    wait_until(lives.has_published_all_keys, "the public keys aren't those of the Secret")
    assert shop.partitions(NAME) == 6
    assert shop.config(NAME)["retention.ms"] == "2000"
    assert shop.versions(NAME) == [1, 2]
    assert shop.level(NAME) == lives.level
    lives.look()
    assert lives.topic_ids == {shop.status(TOPIC, NAME)["topicID"]}, "the topic was made twice"


def assert_written_once(lives: Lives, secret: ObjectWatch) -> None:
    """Look at all that the Secret ever was.

    The watch tells what changed. The audit also tells of writes that changed nothing, but perhaps not of one whose
    client was killed meanwhile: the API server can have done it and still note that it failed.
    """
    verbs = Counter(event["verb"] for event in lives.shop.namespace.writes() if was_secret_written(event))
    assert verbs <= Counter(create=1, update=WRITES_OF_A_SECRET - 1)
    wait_until(lambda: len(secret.versions()) == WRITES_OF_A_SECRET, "the watch is late")
    known: set[str] = set()
    for keys in map(keys_in, secret.versions()):
        assert len(active_kids(keys)) == 1
        kids = {key["kid"] for key in keys}
        assert known - kids <= {*lives.revoked}, "a key was lost"
        known |= kids


def was_secret_written(event: dict[str, object]) -> bool:
    """Tell whether an event of the audit is a write of the Secret that was done."""
    reference, answer = event["objectRef"], event["responseStatus"]
    assert isinstance(reference, dict)
    assert isinstance(answer, dict)
    return reference["resource"] == "secrets" and event["verb"] in {"create", "update"} and answer["code"] < 300


def assert_all_is_gone(lives: Lives) -> None:
    shop = lives.shop
    for kind, name in [(TOPIC, NAME), (TOPIC, BRIEFLY), (SCHEMA, NAME), (SCHEMA, BRIEFLY), (KEY_SET, NAME)]:
        shop.wait_until_gone(kind, name)
    told = [body["message"] for body in shop.namespace.all_of("event") if body["reason"] == "Retained"]
    assert told == []
    for name in (NAME, BRIEFLY):
        wait_until(lambda name=name: shop.topic_id(name) is None, f"the topic {name} is still there")  # type: ignore[misc]
        assert shop.versions(name) == []
