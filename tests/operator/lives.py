"""The lives of a topic, a schema and a key set: what a person does to each, in its order, and how it is looked at."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from tests.operator.key_sets import KEY_SET, active_kids, apply_key_set, private_keys, public_kids
from tests.support.operator_shop import OperatorShop

TOPIC, SCHEMA = "EventTopic", "EventSchema"

NAME = "orders"
"""Of all three; the topic and the subject are named after it."""

BRIEFLY = "brief"
"""Of a topic and a schema that are made and deleted before anybody looks whether they are there."""

SCHEMAS = [
    'syntax = "proto3";\npackage shop;\nmessage Order {\n'
    + "".join(f"  string field_{number} = {number};\n" for number in range(1, size + 1))
    + "}\n"
    for size in (1, 2, 3)
]
"""Each a compatible successor of the one before."""

Move = Callable[[], bool]
"""Does something, or says that the time for it hasn't come."""


class Lives:
    """Three resources of one seed."""

    def __init__(self, shop: OperatorShop, chance: Random) -> None:
        """Nothing is made yet."""
        self.shop = shop
        self._chance = chance
        self.policy = chance.choice(["Never", "IfIdentical", "Adopt"])
        self.level = chance.choice(["FULL", "BACKWARD_TRANSITIVE"])
        """Of the subject in the end; by FULL the third schema is rejected, and has to leave no trace."""
        self.topic_ids: set[str] = set()
        self.revoked: list[str] = []

    def changes(self) -> deque[Move]:
        """List what is done while all of them live; each resource's own moves keep their order."""
        topic: list[Move] = [
            lambda: self._topic(partitions=3),
            lambda: self._changed_topic(partitions=6),
            lambda: self._changed_topic(partitions=6, config={"retention.ms": "2000"}),
        ]
        schema: list[Move] = [
            lambda: self._schema(0, compatibility="BACKWARD"),
            lambda: self._next_schema(1, after=1, compatibility="BACKWARD"),
            lambda: self._next_schema(1, after=2, compatibility=self.level),
        ]
        keys: list[Move] = [
            self._key_set,
            *self._chance.sample([self._rotate, self._revoke], 2),
        ]
        return deque(shuffled_together([topic, schema, keys], self._chance))

    def endings(self) -> deque[Move]:
        """List how they end: right after a last change that nobody waited for."""
        topic: list[Move] = [
            lambda: self._topic(partitions=9, config={"retention.ms": "2000"}),
            lambda: self._delete(TOPIC, NAME),
        ]
        schema: list[Move] = [lambda: self._schema(2, compatibility="BACKWARD"), lambda: self._delete(SCHEMA, NAME)]
        keys: list[Move] = [lambda: self._delete(KEY_SET, NAME)]
        # By IfIdentical a topic that no status names is in doubt, and stays: see "A topic is ours" in ARCHITECTURE.md.
        policy = self._chance.choice(["Never", "Adopt"])
        brief_topic: list[Move] = [
            lambda: self._topic(BRIEFLY, partitions=1, adoptionPolicy=policy),
            lambda: self._delete(TOPIC, BRIEFLY),
        ]
        brief_schema: list[Move] = [lambda: self._schema(0, BRIEFLY), lambda: self._delete(SCHEMA, BRIEFLY)]
        return deque(shuffled_together([topic, schema, keys, brief_topic, brief_schema], self._chance))

    def look(self) -> None:
        """Note the topic's id, if there is one."""
        topic_id = self.shop.topic_id(NAME)
        if topic_id is not None:
            self.topic_ids.add(topic_id)

    def kids(self) -> list[str]:
        """List the keys of the set, the one that signs first."""
        keys = private_keys(self.shop.namespace, NAME)
        return sorted((key["kid"] for key in keys), key=lambda kid: kid not in active_kids(keys))

    def has_published_all_keys(self) -> bool:
        return set(self.kids()) == set(public_kids(self.shop.namespace, f"{NAME}-jwks"))

    def has_begun_the_rotation(self) -> bool:
        annotations = self.shop.namespace.get("secret", NAME)["metadata"]["annotations"]
        return "tradeflow.dev/rotated-for" in annotations

    def _topic(self, name: str = NAME, **spec: Any) -> bool:
        loss: dict[str, Any] = {"deletionPolicy": "Delete", "allowDataLoss": self.shop.topic_name(name)}
        self.shop.topic(name, **{"adoptionPolicy": self.policy, "keyed": False, **loss, **spec})
        return True

    def _changed_topic(self, **spec: Any) -> bool:
        """Change it; one that only goes by what it looks like has to have been seen as it was asked for."""
        if self.policy == "IfIdentical" and "topicID" not in self.shop.status(TOPIC, NAME):
            return False
        return self._topic(**spec)

    def _schema(self, number: int, name: str = NAME, **spec: Any) -> bool:
        self.shop.schema(SCHEMAS[number], name, deletionPolicy="Delete", **spec)
        return True

    def _next_schema(self, number: int, *, after: int, **spec: Any) -> bool:
        """Change it once so many versions are registered: one that nobody saw never is, which is right, too."""
        return len(self.shop.versions(NAME)) >= after and self._schema(number, **spec)

    def _key_set(self) -> bool:
        apply_key_set(self.shop, NAME)
        return True

    def _rotate(self) -> bool:
        self.shop.annotate(KEY_SET, NAME, force="once")
        return True

    def _revoke(self) -> bool:
        found = [body for body in self.shop.namespace.all_of("secret") if body["metadata"]["name"] == NAME]
        if not found:
            return False
        self.revoked = self.kids()[:1]
        self.shop.patch(KEY_SET, NAME, revoke=self.revoked)
        return True

    def _delete(self, kind: str, name: str) -> bool:
        self.shop.namespace.kubectl("delete", kind.lower(), name, "--wait=false")
        return True


def shuffled_together(sequences: Sequence[Sequence[Move]], chance: Random) -> Iterator[Move]:
    """Mix sequences, each of which keeps its order."""
    waiting = [deque(sequence) for sequence in sequences]
    turns = [number for number, sequence in enumerate(sequences) for _ in sequence]
    chance.shuffle(turns)
    for number in turns:
        yield waiting[number].popleft()
