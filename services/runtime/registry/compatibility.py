"""What a change of a Protobuf file would break for who reads data of its older versions.

Registries check that too, when they register; not all of them beforehand, and Apicurio's answer leaves files that
import others unchecked. The rules are those of Protobuf's own guide: a field keeps its number, type and cardinality for
good, and a number that is given up is reserved.
Source: protobuf.dev, "Updating a message type"; the same as buf's WIRE_JSON category.
"""

from collections.abc import Iterable, Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)


def broken_promises(old: FileDescriptorProto, new: FileDescriptorProto) -> list[str]:
    """List what the new file breaks, each in a sentence; empty when it reads all that the old one wrote."""
    if old.package != new.package:
        return [f"the package {old.package} became {new.package}"]
    return [
        *_in_messages(old.package, old.message_type, new.message_type),
        *_in_enums(old.package, old.enum_type, new.enum_type),
    ]


def _in_messages(scope: str, old: Iterable[DescriptorProto], new: Iterable[DescriptorProto]) -> Iterator[str]:
    by_name = {message.name: message for message in new}
    for message in old:
        name = f"{scope}.{message.name}"
        if message.name not in by_name:
            yield f"the message {name} is gone"
            continue
        now = by_name[message.name]
        yield from _in_fields(name, message, now)
        yield from _in_messages(name, message.nested_type, now.nested_type)
        yield from _in_enums(name, message.enum_type, now.enum_type)


def _in_fields(message: str, old: DescriptorProto, new: DescriptorProto) -> Iterator[str]:
    by_number = {field.number: field for field in new.field}
    for field in old.field:
        now = by_number.get(field.number)
        if now is None:
            if not any(gap.start <= field.number < gap.end for gap in new.reserved_range):
                yield f"the field {message}.{field.name} is gone and its number {field.number} isn't reserved"
            continue
        for what, before, after in (
            ("name", field.name, now.name),
            ("type", _type_of(field), _type_of(now)),
            ("cardinality", _Label.Name(field.label), _Label.Name(now.label)),
            ("oneof", _oneof_of(field, old), _oneof_of(now, new)),
        ):
            if before != after:
                yield f"the {what} of the field {message}.{field.name} was {before} and is {after}"


def _in_enums(scope: str, old: Iterable[EnumDescriptorProto], new: Iterable[EnumDescriptorProto]) -> Iterator[str]:
    by_name = {enum.name: enum for enum in new}
    for enum in old:
        if enum.name not in by_name:
            yield f"the enum {scope}.{enum.name} is gone"
            continue
        now = by_name[enum.name]
        names = {value.number: value.name for value in now.value}
        for value in enum.value:
            # Unlike those of messages, an enum's reserved ranges include their ends.
            reserved = any(gap.start <= value.number <= gap.end for gap in now.reserved_range)
            if value.number not in names and not reserved:
                yield f"the value {scope}.{enum.name}.{value.name} is gone and its number isn't reserved"
            elif names.get(value.number, value.name) != value.name:
                yield f"the value {scope}.{enum.name}.{value.name} became {names[value.number]}"


_Label = FieldDescriptorProto.Label


def _type_of(field: FieldDescriptorProto) -> str:
    return field.type_name or FieldDescriptorProto.Type.Name(field.type)


def _oneof_of(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    """Name the oneof that a field is in; `optional` makes one of its own, which is none."""
    if not field.HasField("oneof_index") or field.proto3_optional:
        return "none"
    return message.oneof_decl[field.oneof_index].name
