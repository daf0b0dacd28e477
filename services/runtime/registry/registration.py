"""Bringing schemas into a registry, by hand: look first, and change nothing that would break a reader.

A file's imports are registered before it, each under its import path. Its steps: compare it with every version there
is; set the level that the registry shall keep, where the subject has versions; register; set the level of a new
subject; look the file up again. When the registry refuses it after all, the level is put back.
"""

import base64
import binascii
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

from services.runtime.errors import RejectedError, UnavailableError
from services.runtime.registry.client import RegisteredSchema, RegistryClient, SchemaReference
from services.runtime.registry.compatibility import broken_promises
from services.runtime.registry.contract import SUBJECT_SUFFIX, EventContract, SchemaFile
from services.runtime.registry.lookup import find_registered

COMPATIBILITY_LEVEL = "BACKWARD_TRANSITIVE"
"""Whoever has the newest schema reads all that was ever published. FULL_TRANSITIVE would suit Protobuf as well, but
Apicurio takes an added field for a removed one in the other direction."""


class SubjectState(StrEnum):
    """Where a subject stands."""

    CURRENT = "current"
    """It has the file."""
    MISSING = "missing"
    """It doesn't have the file, and can take it."""
    INCOMPATIBLE = "incompatible"
    """It doesn't have the file, and the file would break its readers, or the registry refused it."""
    REGISTERED = "registered"
    """It has the file now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectReport:
    """What was found, or done."""

    subject: str
    state: SubjectState
    schema_id: int | None = None
    version: int | None = None
    findings: tuple[str, ...] = ()
    """What is incompatible, or could not be checked, in sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A file and the subject that is to have it."""

    name: str
    file: SchemaFile


def subjects_of(contracts: Sequence[EventContract], *, outer_name: Callable[[str], str]) -> list[Subject]:
    """List all subjects that contracts need, imports first, each once."""
    subjects: dict[str, Subject] = {}

    def add(name: str, file: SchemaFile) -> None:
        for each in file.imports:
            add(each.name, each)
        subjects.setdefault(name, Subject(name=name, file=file))

    for contract in contracts:
        add(f"{outer_name(contract.topic)}{SUBJECT_SUFFIX}", contract.schema)
    return list(subjects.values())


async def check_subjects(client: RegistryClient, subjects: Sequence[Subject]) -> AsyncIterator[SubjectReport]:
    """Say where each subject stands. Nothing is written.

    Raises:
        UnavailableError: The registry doesn't answer.
    """
    for subject in subjects:
        yield await _checked(client, subject)


async def register_subjects(client: RegistryClient, subjects: Sequence[Subject]) -> AsyncIterator[SubjectReport]:
    """Register what is missing, and stop at the first subject that can't take its file.

    Raises:
        UnavailableError: The registry doesn't answer; call again, what is registered already stays as it is.
    """
    for subject in subjects:
        report = await _checked(client, subject)
        if report.state is SubjectState.MISSING:
            report = await _registered(client, subject)
        yield report
        if report.state is SubjectState.INCOMPATIBLE:
            return


async def _checked(client: RegistryClient, subject: Subject) -> SubjectReport:
    found = await find_registered(client, subject.name, subject.file)
    if found is not None:
        return SubjectReport(
            subject=subject.name, state=SubjectState.CURRENT, schema_id=found.id, version=found.version
        )
    wanted = FileDescriptorProto.FromString(subject.file.serialized)
    broken, unknown = [], []
    for number in reversed(await client.versions(subject.name)):
        old = await _descriptor_of(client, subject.name, number)
        if old is None:
            unknown.append(f"version {number} can't be read here; the registry compares it when it registers")
        else:
            broken += [f"version {number}: {each}" for each in broken_promises(old, wanted)]
    state = SubjectState.INCOMPATIBLE if broken else SubjectState.MISSING
    return SubjectReport(subject=subject.name, state=state, findings=(*broken, *unknown))


async def _descriptor_of(client: RegistryClient, subject: str, number: int) -> FileDescriptorProto | None:
    """Read a version; None when it was registered as text and the registry can't serialize it."""
    plain = await client.version(subject, number)
    descriptor = _parsed(plain)
    if descriptor is not None:
        return descriptor
    try:
        return _parsed(await client.version(subject, number, serialized=True))
    except UnavailableError:
        # Apicurio answers 500 where an import was registered serialized.
        return None


def _parsed(registered: RegisteredSchema | None) -> FileDescriptorProto | None:
    try:
        content = base64.b64decode(registered.schema if registered is not None else "", validate=True)
        return FileDescriptorProto.FromString(content) if content else None
    except (binascii.Error, DecodeError):
        return None


async def _registered(client: RegistryClient, subject: Subject) -> SubjectReport:
    references = []
    for each in subject.file.imports:
        found = await find_registered(client, each.name, each)
        if found is None:
            raise UnavailableError(f"{each.name} was registered and isn't found.", reason="registry_inconsistent")
        references.append(SchemaReference(name=each.name, subject=each.name, version=found.version))
    is_new = not await client.versions(subject.name)
    level_before = COMPATIBILITY_LEVEL if is_new else await client.compatibility_level(subject.name)
    if level_before != COMPATIBILITY_LEVEL:
        await client.set_compatibility_level(subject.name, COMPATIBILITY_LEVEL)
    try:
        await client.register(subject.name, subject.file.encoded, references)
    except RejectedError as error:
        if level_before != COMPATIBILITY_LEVEL:
            await _put_back(client, subject.name, level_before)
        return SubjectReport(subject=subject.name, state=SubjectState.INCOMPATIBLE, findings=(error.message,))
    if is_new:
        await client.set_compatibility_level(subject.name, COMPATIBILITY_LEVEL)
    found = await find_registered(client, subject.name, subject.file)
    if found is None:
        raise UnavailableError(f"{subject.name} was registered and isn't found.", reason="registry_inconsistent")
    return SubjectReport(subject=subject.name, state=SubjectState.REGISTERED, schema_id=found.id, version=found.version)


async def _put_back(client: RegistryClient, subject: str, level: str | None) -> None:
    if level is None:
        await client.forget_compatibility_level(subject)
    else:
        await client.set_compatibility_level(subject, level)
