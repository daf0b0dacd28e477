"""The contracts of the events as the umbrella's EventSchemas register them: what `tradeflow schemas register` would."""

import base64
import re

import yaml

from services.embedded.commands.schemas import CONTRACTS
from services.runtime.registry.registration import COMPATIBILITY_LEVEL, Subject, subjects_of

FIRST_VERSION = 1
"""Of an imported file, which never changes (`test_shared_schemas.py`): installations of all releases share it."""


def event_schemas() -> dict[str, str]:
    """Return the files of charts/tradeflow/schemas by their names."""
    subjects = subjects_of(CONTRACTS, outer_name=lambda topic: topic)
    return {f"{_slug(subject.name)}.yaml": _text(subject) for subject in subjects}


def _text(subject: Subject) -> str:
    imports = [{"name": each.name, "subject": each.name, "version": FIRST_VERSION} for each in subject.file.imports]
    spec = {
        "subject": subject.name,
        "type": "PROTOBUF",
        "compatibility": COMPATIBILITY_LEVEL,
        "references": imports,
        # Without comments, so that a word about a field is no new schema.
        "schema": base64.b64encode(subject.file.serialized).decode(),
    }
    return yaml.safe_dump(spec, sort_keys=False, width=1_000_000)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower().removesuffix(".proto")).strip("-")
