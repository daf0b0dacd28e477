"""A schema registry in memory, behind the operator's client; tests/contract holds it and a real one to the same.

Its rule is that of Protobuf fields: a field that is gone, or has another type, breaks every level but NONE. Levels that
aren't transitive ask the newest version only.
"""

import json
import re
from collections.abc import Callable, Sequence

from tradeflow_operator.clients.fence import Fence, open_fence
from tradeflow_operator.clients.registry import IncompatibleError, RegisteredSchema, RegistryClient
from tradeflow_operator.errors import RefusedError, UnavailableError
from tradeflow_operator.reconcile.event_schema import SchemaText

_FIELD = re.compile(r"(\w+)\s+(\w+)\s*=\s*(\d+)\s*;")


class FakeSubjects:
    """What all its clients see."""

    def __init__(self) -> None:
        self.versions: dict[str, list[str]] = {}
        self.levels: dict[str, str] = {}
        self.ids: dict[str, int] = {}
        self.id: str | None = None
        """What the registry says of itself, as Confluent's does; Apicurio says nothing."""
        self.is_away = False
        self.checks_only_when_registering = False
        self.writes: list[str] = []


class FakeRegistryClient(RegistryClient):
    """A client of it, with the real one's fence; `point` is called before and after each effect."""

    def __init__(
        self, subjects: FakeSubjects, fence: Fence | None = None, point: Callable[[str], None] = lambda _: None
    ) -> None:
        self.url = "http://fake"
        self.subjects = subjects
        self._fence = fence or open_fence()
        self._point = point

    async def close(self) -> None:
        pass

    async def check(self) -> None:
        self._look()

    async def identity(self) -> str | None:
        self._look()
        return self.subjects.id

    async def look_up(self, subject: str, text: SchemaText) -> RegisteredSchema | None:
        self._look()
        versions = self.subjects.versions.get(subject, [])
        if text.schema not in versions:
            return None
        number = versions.index(text.schema) + 1
        return RegisteredSchema(subject=subject, version=number, id=self._id_of(text), schema=text.schema)

    async def versions(self, subject: str) -> tuple[int, ...]:
        self._look()
        return tuple(range(1, len(self.subjects.versions.get(subject, [])) + 1))

    async def level(self, subject: str) -> str | None:
        self._look()
        return self.subjects.levels.get(subject)

    async def incompatibilities(self, subject: str, text: SchemaText, versions: Sequence[int]) -> tuple[str, ...]:
        self._look()
        if versions:
            self._parse(text)
        if self.subjects.checks_only_when_registering:
            return ()
        return tuple(self._broken(subject, text, versions))

    async def set_level(self, subject: str, level: str) -> None:
        self._change(f"set {subject} to {level}", lambda: self.subjects.levels.update({subject: level}))

    async def forget_level(self, subject: str) -> None:
        self._change(f"forget the level of {subject}", lambda: self.subjects.levels.pop(subject, None))

    async def register(self, subject: str, text: SchemaText) -> int:
        self._look()
        self._parse(text)
        there = len(self.subjects.versions.get(subject, []))
        is_transitive = self.subjects.levels.get(subject, "").endswith("_TRANSITIVE")
        broken = self._broken(subject, text, range(1 if is_transitive else there, there + 1))
        if broken:
            raise IncompatibleError(f"The registry refuses the schema: {broken[0]}")
        self._change(f"register {subject}", lambda: self._add(subject, text.schema))
        return self._id_of(text)

    async def soft_delete(self, subject: str) -> None:
        self._change(f"soft-delete {subject}", lambda: self.subjects.versions.pop(subject, None))

    def _add(self, subject: str, schema: str) -> None:
        versions = self.subjects.versions.setdefault(subject, [])
        if schema not in versions:
            versions.append(schema)

    def _id_of(self, text: SchemaText) -> int:
        """Number a schema, the same in all subjects."""
        return self.subjects.ids.setdefault(text.schema, 101 + len(self.subjects.ids))

    def _broken(self, subject: str, text: SchemaText, versions: Sequence[int]) -> list[str]:
        if self.subjects.levels.get(subject, "NONE") == "NONE":
            return []
        new = set(_FIELD.findall(text.schema))
        there = [(number, self.subjects.versions[subject][number - 1]) for number in versions if number > 0]
        return [f"version {number}: a field is gone" for number, old in there if set(_FIELD.findall(old)) - new]

    def _parse(self, text: SchemaText) -> None:
        try:
            is_readable = text.schema.startswith("syntax") if text.type == "PROTOBUF" else bool(json.loads(text.schema))
        except ValueError:
            is_readable = False
        known = self.subjects.versions
        if not is_readable or any(len(known.get(each.subject, [])) < each.version for each in text.references):
            raise RefusedError("The registry can't read the schema", reason="SchemaInvalid")

    def _look(self) -> None:
        if self.subjects.is_away:
            raise UnavailableError("The schema registry can't be asked", reason="RegistryUnreachable")

    def _change(self, what: str, effect: Callable[[], object]) -> None:
        self._look()
        self._fence.write_seconds(1.0)
        self._point(f"before {what}")
        effect()
        self.subjects.writes.append(what)
        self._point(f"after {what}")
