"""Small Protobuf files for registries, whose versions differ as a test wants."""

from collections.abc import Mapping

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from services.runtime.registry.contract import SchemaFile

STRING, INT64 = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_INT64

_WORDS = {STRING: "string", INT64: "int64"}


def file_descriptor(
    fields: Mapping[str, tuple[int, FieldDescriptorProto.Type.ValueType]], *, imports: tuple[SchemaFile, ...] = ()
) -> FileDescriptorProto:
    """Describe shop.v1.Thing by its fields' names, numbers and types."""
    file = FileDescriptorProto(name="shop/v1/thing.proto", package="shop.v1", syntax="proto3")
    file.dependency.extend(each.name for each in imports)
    message = file.message_type.add(name="Thing")
    for name, (number, type_) in fields.items():
        message.field.add(
            name=name, number=number, type=type_, label=FieldDescriptorProto.LABEL_OPTIONAL, json_name=name
        )
    return file


def schema_file(
    fields: Mapping[str, tuple[int, FieldDescriptorProto.Type.ValueType]], *, imports: tuple[SchemaFile, ...] = ()
) -> SchemaFile:
    """Make the file in both forms."""
    descriptor = file_descriptor(fields, imports=imports)
    lines = [f"  {_WORDS[type_]} {name} = {number};" for name, (number, type_) in fields.items()]
    head = ['syntax = "proto3";', "package shop.v1;", *(f'import "{each.name}";' for each in imports)]
    text = "\n".join([*head, "// A comment.", "message Thing {", *lines, "}", ""])
    return SchemaFile(
        name=descriptor.name, serialized=descriptor.SerializeToString(deterministic=True), text=text, imports=imports
    )
