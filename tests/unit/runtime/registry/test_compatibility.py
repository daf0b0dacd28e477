from collections.abc import Callable

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from services.runtime.registry.compatibility import broken_promises

STRING, INT64 = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_INT64

Change = Callable[[FileDescriptorProto], object]


def a_file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="shop/v1/thing.proto", package="shop.v1", syntax="proto3")
    message = file.message_type.add(name="Thing")
    message.field.add(name="name", number=1, type=STRING, label=FieldDescriptorProto.LABEL_OPTIONAL)
    message.oneof_decl.add(name="fact")
    message.field.add(name="weight", number=2, type=INT64, label=FieldDescriptorProto.LABEL_OPTIONAL, oneof_index=0)
    message.nested_type.add(name="Part").field.add(name="part", number=1, type=STRING)
    colour = message.enum_type.add(name="Colour")
    colour.value.add(name="RED", number=0)
    colour.value.add(name="BLUE", number=1)
    return file


def thing(file: FileDescriptorProto) -> DescriptorProto:
    return file.message_type[0]


def changed(change: Change) -> list[str]:
    file = a_file()
    change(file)
    return broken_promises(a_file(), file)


def drop_field(file: FileDescriptorProto) -> None:
    del thing(file).field[0]


def reserve_field(file: FileDescriptorProto) -> None:
    drop_field(file)
    thing(file).reserved_range.add(start=1, end=2)


def reserve_another(file: FileDescriptorProto) -> None:
    drop_field(file)
    thing(file).reserved_range.add(start=2, end=9)


def drop_value(file: FileDescriptorProto) -> None:
    del thing(file).enum_type[0].value[1]


def reserve_value(file: FileDescriptorProto) -> None:
    drop_value(file)
    thing(file).enum_type[0].reserved_range.add(start=1, end=1)


HARMLESS = {
    "nothing": lambda file: file,
    "a field more": lambda file: thing(file).field.add(name="size", number=3, type=INT64),
    "a fact more": lambda file: thing(file).field.add(name="size", number=3, type=INT64, oneof_index=0),
    "a message more": lambda file: file.message_type.add(name="Other"),
    "a value more": lambda file: thing(file).enum_type[0].value.add(name="GREEN", number=2),
    "a field given up and its number reserved": reserve_field,
    "a value given up and its number reserved": reserve_value,
    "fields in another order": lambda file: thing(file).field.reverse(),
}

BREAKING = {
    "the type of the field shop.v1.Thing.name was TYPE_STRING and is TYPE_INT64": lambda file: setattr(
        thing(file).field[0], "type", INT64
    ),
    "the name of the field shop.v1.Thing.name was name and is title": lambda file: setattr(
        thing(file).field[0], "name", "title"
    ),
    "the cardinality of the field shop.v1.Thing.name was LABEL_OPTIONAL and is LABEL_REPEATED": lambda file: setattr(
        thing(file).field[0], "label", FieldDescriptorProto.LABEL_REPEATED
    ),
    "the oneof of the field shop.v1.Thing.weight was fact and is none": lambda file: (
        thing(file).field[1].ClearField("oneof_index")
    ),
    "the field shop.v1.Thing.name is gone and its number 1 isn't reserved": drop_field,
    "the message shop.v1.Thing is gone": lambda file: file.ClearField("message_type"),
    "the message shop.v1.Thing.Part is gone": lambda file: thing(file).ClearField("nested_type"),
    "the enum shop.v1.Thing.Colour is gone": lambda file: thing(file).ClearField("enum_type"),
    "the value shop.v1.Thing.Colour.BLUE is gone and its number isn't reserved": drop_value,
    "the value shop.v1.Thing.Colour.BLUE became GREEN": lambda file: setattr(
        thing(file).enum_type[0].value[1], "name", "GREEN"
    ),
    "the package shop.v1 became shop.v2": lambda file: setattr(file, "package", "shop.v2"),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS.keys())
def test_readers_of_older_data_don_t_mind(change: Change) -> None:
    assert changed(change) == []


@pytest.mark.parametrize(("told", "change"), BREAKING.items(), ids=BREAKING.keys())
def test_readers_of_older_data_would_break(told: str, change: Change) -> None:
    assert changed(change) == [told]


def test_a_number_of_a_field_that_is_gone_must_be_the_one_that_is_reserved() -> None:
    assert changed(reserve_another) == ["the field shop.v1.Thing.name is gone and its number 1 isn't reserved"]
