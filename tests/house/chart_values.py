"""What a chart takes, read from its values.yaml: the value, the comment above it, and what a comment says of its type.

# -- How many replicas run.                 becomes a row of the README; the lines after it belong to it
# @schema {"type": "integer", "minimum": 1}  says more than the value itself does
# @schema settings ledger                   takes the types from the service's own settings
replicaCount: 2
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DESCRIPTION, SCHEMA = "# -- ", "# @schema "


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartValue:
    """One key of values.yaml, with what stands above it."""

    path: tuple[str, ...]
    default: Any
    description: str
    schema_note: str
    children: tuple["ChartValue", ...]

    @property
    def name(self) -> str:
        """Its own key."""
        return self.path[-1]

    @property
    def is_leaf(self) -> bool:
        """Tell whether it is set as a whole: it has a note, or holds no keys with comments of their own."""
        return not self.children or bool(self.schema_note)


def read_values(file: Path) -> tuple[ChartValue, ...]:
    """Read a values.yaml in its order."""
    text = file.read_text()
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        return ()
    return tuple(_children(root, text.splitlines(), ()))


def leaves(values: tuple[ChartValue, ...]) -> Iterator[ChartValue]:
    """Yield what people set, in the file's order."""
    for value in values:
        if value.is_leaf:
            yield value
        else:
            yield from leaves(value.children)


def _children(node: yaml.MappingNode, lines: list[str], path: tuple[str, ...]) -> Iterator[ChartValue]:
    for key, value in node.value:
        here = (*path, str(key.value))
        description, note = _comment_above(lines, key.start_mark.line)
        # Keys of one line, such as {cpu: 10m}, have nothing above them: they are one value.
        nested = isinstance(value, yaml.MappingNode) and value.start_mark.line > key.start_mark.line
        yield ChartValue(
            path=here,
            default=yaml.safe_load(yaml.serialize(value)),
            description=description,
            schema_note=note,
            children=tuple(_children(value, lines, here)) if nested else (),
        )


def _comment_above(lines: list[str], line: int) -> tuple[str, str]:
    described, note = list[str](), ""
    while line > 0 and (text := lines[line - 1].strip()).startswith("#"):
        line -= 1
        if text.startswith(SCHEMA):
            note = text.removeprefix(SCHEMA)
            continue
        described.insert(0, text.removeprefix(DESCRIPTION).removeprefix("# "))
        if text.startswith(DESCRIPTION):
            return re.sub(r"\s+", " ", " ".join(described)), note
    return "", note
