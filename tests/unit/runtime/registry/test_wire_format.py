import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.errors import InvalidArgumentError
from services.runtime.registry.contract import EventContract
from services.runtime.registry.wire_format import FRAME_REASON, frame_of, payload_of
from tradeflow.events.v1 import order_event_pb2, wallet_event_pb2
from tradeflow.events.v1.order_event_pb2 import OrderEvent


def test_the_first_message_of_a_file_has_the_short_frame() -> None:
    assert frame_of(258, [0]) == b"\x00\x00\x00\x01\x02\x00"


def test_a_nested_message_is_named_by_its_path_as_confluent_s_format_has_it() -> None:
    # Two indexes, 1 and 0: zigzag varints 4, 2, 0.
    assert frame_of(1, [1, 0]) == b"\x00\x00\x00\x00\x01\x04\x02\x00"
    assert frame_of(1, [100]) == b"\x00\x00\x00\x00\x01\x02\xc8\x01"


@given(
    schema_id=st.integers(0, 2**32 - 1),
    path=st.lists(st.integers(0, 2**20), min_size=1, max_size=6),
    payload=st.binary(max_size=50),
)
def test_what_is_framed_comes_out_whole(schema_id: int, path: list[int], payload: bytes) -> None:
    assert payload_of(frame_of(schema_id, path) + payload) == payload


def test_plain_protobuf_passes_as_it_is() -> None:
    event = OrderEvent(order_id="1").SerializeToString()

    assert payload_of(event) == event
    assert payload_of(b"") == b""


@given(event=st.builds(OrderEvent, event_id=st.text(), order_id=st.text()))
def test_no_protobuf_message_is_taken_for_a_frame(event: OrderEvent) -> None:
    value = event.SerializeToString()

    assert payload_of(value) == value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"\x00", id="nothing behind the first byte"),
        pytest.param(b"\x00\x00\x00\x01", id="an id of three bytes"),
        pytest.param(b"\x00\x00\x00\x00\x01", id="no path"),
        pytest.param(b"\x00\x00\x00\x00\x01\x04\x00", id="a path that is too short"),
        pytest.param(b"\x00\x00\x00\x00\x01\x01", id="a negative depth"),
        pytest.param(b"\x00\x00\x00\x00\x01\x02\x01", id="a negative index"),
        pytest.param(b"\x00\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\x01", id="a number without an end"),
        pytest.param(b"\x00\x00\x00\x00\x01\xfe\xff\xff\xff\x0f", id="a depth beyond any message"),
    ],
)
def test_a_wrong_frame_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        payload_of(value)

    assert refused.value.reason == FRAME_REASON


def test_a_contract_tells_where_its_message_is() -> None:
    def path(message: type) -> list[int]:
        return EventContract(topic="t", message=message.DESCRIPTOR).message_path  # type: ignore[attr-defined] # generated

    assert path(order_event_pb2.OrderEvent) == [0]
    assert path(order_event_pb2.OrderConfirmed) == [1]
    assert path(wallet_event_pb2.WalletEvent) == [0]


def test_a_contract_names_its_imports_but_not_those_that_registries_have() -> None:
    schema = EventContract(topic="t", message=OrderEvent.DESCRIPTOR).schema

    assert [each.name for each in schema.imports] == [
        "tradeflow/common/v1/money.proto",
        "tradeflow/common/v1/wallet.proto",
    ]
    assert schema.imports[1].imports == ()
    assert "message OrderEvent {" in schema.text
