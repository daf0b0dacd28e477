"""What a kind is, and the registry of those that this operator serves."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from tradeflow_operator.reconcile.plan import Plan, Step
from tradeflow_operator.resources import ObjectKey, Resource, parse_resource

SpecT = TypeVar("SpecT")
ObservedT = TypeVar("ObservedT")


class Kind(ABC, Generic[SpecT, ObservedT]):
    """One kind of resource: it observes, its pure plan decides, it takes the steps. README.md says how to add one."""

    name: ClassVar[str]
    """In CamelCase, as manifests have it: EventTopic."""

    plural: ClassVar[str]
    """In small letters, as URLs have it: eventtopics."""

    spec_type: type[SpecT]
    """A msgspec Struct with `rename="camel"`; what doesn't fit it is refused as InvalidSpec."""

    rounds_max: ClassVar[int] = 8
    """How often one visit observes, plans and takes steps before it says that it is still under way."""

    @abstractmethod
    async def observe(self, resource: Resource[SpecT]) -> ObservedT:
        """Look at the world; write nothing.

        Raises:
            RefusedError: What the spec refers to is wrong, and stays so until a person acts.
            UnavailableError: It can't be seen now.
        """

    @abstractmethod
    def plan(self, resource: Resource[SpecT], observed: ObservedT, now: datetime) -> Plan:
        """Decide; pure."""

    @abstractmethod
    async def apply(self, resource: Resource[SpecT], step: Step) -> None:
        """Take one step of a plan; each write passes the fence (the clients see to that).

        Raises:
            RefusedError: What is outside refuses it.
            UnavailableError: It may or may not have been done; the next observation tells.
            NotLeaderError: Nothing was written.
        """

    def claim(self, resource: Resource[SpecT]) -> str | None:
        """Name what only one resource may own; of two that claim the same, the older wins and the newer is told."""
        del resource
        return None

    def shares(self, resource: Resource[SpecT]) -> str | None:
        """Name what a resource asks of what it claims, if others that ask the very same may stand beside it.

        None: nobody may.
        """
        del resource
        return None

    def references(self, resource: Resource[SpecT]) -> Sequence[ObjectKey]:
        """Name the resources of our kinds whose changes have to wake this one."""
        del resource
        return ()

    def forget(self, key: ObjectKey) -> None:
        """Drop what is kept in memory of a resource that is gone."""
        del key

    def parse(self, body: Mapping[str, Any]) -> Resource[SpecT]:
        """Read a resource of this kind.

        Raises:
            RefusedError: `InvalidSpec`.
        """
        return parse_resource(self.name, body, self.spec_type)


class Kinds:
    """The kinds that are served, by name."""

    def __init__(self, kinds: Sequence[Kind[Any, Any]]) -> None:
        """Register them."""
        self._by_name = {kind.name: kind for kind in kinds}

    def __iter__(self) -> Iterator[Kind[Any, Any]]:
        return iter(self._by_name.values())

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Kind[Any, Any]:
        return self._by_name[name]
