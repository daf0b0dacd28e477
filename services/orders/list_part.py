"""A part of a list that goes on."""

from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Generic[Item]):
    """Some items, fewer than were asked for where they are long, or where a filter left most of them out.

    The next part is of those before `next_before`, the last one that was looked at; None at the end.
    """

    items: list[Item]
    next_before: UUID | None
