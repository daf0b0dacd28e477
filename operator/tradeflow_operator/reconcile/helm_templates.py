"""What the charts let helm evaluate of values: names of the release and other values, and nothing that does something.

Some values are templates, such as `{{ .Release.Name }}-clients`, and helm runs them with this operator's rights: by
`lookup` whoever may write one resource would read every Secret that the operator may read. Pure.

Source: https://helm.sh/docs/chart_template_guide/function_list/ (`lookup`, `tpl`).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

OPENING: Final = "{{"

_REFERENCE: Final = re.compile(r"\{\{-?\s*\$?\.(?:Release|Values|Chart)(?:\.\w+)+\s*-?\}\}")
"""Says what stands elsewhere. A function is no reference, not even a harmless one: what it makes may be a template."""


def evaluating_values(values: Mapping[str, Any]) -> Iterator[str]:
    """Name the values that hold more of a template than references, by where they stand."""
    yield from _found("", values)


def _found(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            place = f"{path}.{name}" if path else str(name)
            # Where a part of the values is a template as a whole, its names are of it.
            yield from _found(place, str(name))
            yield from _found(place, inner)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _found(f"{path}[{number}]", inner)
    elif isinstance(value, str) and OPENING in _REFERENCE.sub(" ", value):
        yield path
