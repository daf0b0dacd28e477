"""What a topic carries, as registries keep it: a Protobuf file and the files that it imports."""

import base64
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath

from google.protobuf.descriptor import Descriptor, FileDescriptor

SUBJECT_SUFFIX = "-value"
"""Ends the name of a topic's subject. Source: Confluent's TopicNameStrategy."""

_KNOWN_FOLDER = "google/protobuf/"
"""Files that every registry has by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventContract:
    """A topic and the message that its values are."""

    topic: str
    message: Descriptor

    @property
    def schema(self) -> "SchemaFile":
        """The file that defines the message."""
        return schema_file_of(self.message.file)

    @property
    def message_path(self) -> list[int]:
        """Where the message is in its file: the index of the outermost message first."""
        path, descriptor = [], self.message
        while descriptor.containing_type is not None:
            path.append(descriptor.containing_type.nested_types.index(descriptor))
            descriptor = descriptor.containing_type
        path.append(list(descriptor.file.message_types_by_name).index(descriptor.name))
        return path[::-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaFile:
    """A Protobuf file; what imports it names it by `name`, which is its subject too."""

    name: str
    serialized: bytes
    """Its FileDescriptorProto: without comments, so that a word about a field is no new schema."""
    text: str
    """As people write it."""
    imports: tuple["SchemaFile", ...]

    @property
    def encoded(self) -> str:
        """The serialized form as registries take it; what Confluent's own clients for Python look up."""
        return base64.b64encode(self.serialized).decode()


def schema_file_of(file: FileDescriptor) -> SchemaFile:
    """Describe a file of generated code; its .proto lies beside the code."""
    path = PurePosixPath(file.name)
    folder = resources.files(".".join(path.parent.parts))
    return SchemaFile(
        name=file.name,
        serialized=file.serialized_pb,
        text=(folder / path.name).read_text(encoding="utf-8"),
        imports=tuple(schema_file_of(each) for each in file.dependencies if not each.name.startswith(_KNOWN_FOLDER)),
    )
