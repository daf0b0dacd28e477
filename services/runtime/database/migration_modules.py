"""What a package says about the tables: its migrations, read and checked, and not yet run.

A package holds modules `m0001_name.py`, each with `PHASE` and `STATEMENTS`:

- "pre": additive, so that code which doesn't know it works on. Runs before the new code does.
- "post": once no old code runs any more; it may take away. Code that doesn't hold it is refused from then on, unless
  the module says `CODE_NEEDS = "m0003_name"`: all code that holds that migration works on the result too, since it
  stopped using what goes.

An applied migration never changes: a correction is the next.
"""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

PHASES = ("pre", "post")
"""Both, in the order of a deployment."""

_MODULE_NAME = re.compile(r"m\d{4}_\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step."""

    name: str
    phase: str
    statements: tuple[str, ...]
    code_needs: str = ""
    """The newest migration that code must hold to work on the result; empty: as its phase says."""

    @property
    def checksum(self) -> str:
        """What the step does, in 64 characters; how its text is laid out doesn't matter."""
        words = "\0".join(" ".join(statement.split()) for statement in self.statements)
        return hashlib.sha256(f"{self.phase}\0{words}".encode()).hexdigest()


def migrations_of(package: str) -> list[Migration]:
    """Read the migrations of a package, in the order of their names.

    Raises:
        ValueError: A module says what makes no sense.
    """
    names = sorted(
        module.name for module in iter_modules(import_module(package).__path__) if _MODULE_NAME.fullmatch(module.name)
    )
    return [_migration(package, name, names) for name in names]


def _migration(package: str, name: str, names: Collection[str]) -> Migration:
    module = import_module(f"{package}.{name}")
    if module.PHASE not in PHASES:
        raise ValueError(f"{package}.{name}: PHASE is {module.PHASE!r}, and must be one of {PHASES}")
    code_needs: str = getattr(module, "CODE_NEEDS", "")
    if code_needs and (module.PHASE != "post" or code_needs not in names or code_needs > name):
        raise ValueError(f"{package}.{name}: CODE_NEEDS stands in a post migration, and names one before it")
    return Migration(name=name, phase=module.PHASE, statements=tuple(module.STATEMENTS), code_needs=code_needs)
