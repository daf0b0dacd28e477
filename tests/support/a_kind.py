"""A small kind for tests of the framework: a number that has to be the same outside."""

from datetime import datetime

import msgspec

from tradeflow_operator.kinds import Kind
from tradeflow_operator.reconcile.plan import Plan, Step, in_sync, refused, waiting
from tradeflow_operator.resources import Resource


class NumberSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    number: int
    owned: str | None = None
    clean_up: bool = False


class SetNumber(Step, frozen=True, kw_only=True):
    number: int | None

    def sentence(self) -> str:
        return f"set the number to {self.number}"


class NumberKind(Kind[NumberSpec, int | None]):
    """Holds its "outside" in a dictionary; `trouble` is raised by the next observations.

    One that forgets keeps no number.
    """

    name = "Number"
    plural = "numbers"
    spec_type = NumberSpec

    def __init__(self) -> None:
        self.outside: dict[str, int] = {}
        self.trouble: Exception | None = None
        self.forgets = False
        self.steps_taken = 0
        self.observations = 0

    async def observe(self, resource: Resource[NumberSpec]) -> int | None:
        self.observations += 1
        if self.trouble is not None:
            raise self.trouble
        return self.outside.get(resource.name)

    def plan(self, resource: Resource[NumberSpec], observed: int | None, now: datetime) -> Plan:
        del now
        spec = resource.spec
        if resource.deleting:
            gone = waiting("Deleting", "It goes.")
            return Plan(verdict=gone, steps=(SetNumber(number=None),) if observed is not None else ())
        if spec.number < 0:
            return Plan(verdict=refused("Negative", "The number is below zero."))
        steps = (SetNumber(number=spec.number),) if observed != spec.number else ()
        return Plan(verdict=in_sync("It is so."), steps=steps, keep_finalizer=spec.clean_up)

    async def apply(self, resource: Resource[NumberSpec], step: Step) -> None:
        assert isinstance(step, SetNumber)
        self.steps_taken += 1
        if step.number is None:
            del self.outside[resource.name]
        elif not self.forgets:
            self.outside[resource.name] = step.number

    def claim(self, resource: Resource[NumberSpec]) -> str | None:
        return resource.spec.owned
