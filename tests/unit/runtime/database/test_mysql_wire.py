import asyncio
import weakref

import pytest

from services.runtime.mysql.errors import ConnectionLostError
from services.runtime.mysql.wire import Wire

OK = b"\x00\x01\x00\x02\x00\x00\x00"
"""One changed row, and no more results."""

PAYLOAD_MAX = 2**24 - 1
"""A packet this large is continued by the next one, be that empty. Source: MySQL's protocol, "Packets"."""

KILLED = b"\xff\x87\x07#70100Connection was killed"
"""Error 1927, which a server sends to a connection that it ends."""


class ServersEnd(asyncio.Transport):
    """Takes what is written, and is closed or not."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.written = b""

    def is_closing(self) -> bool:
        return self.aborted

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True


def packet(payload: bytes, *, sequence: int = 1) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


async def test_a_commit_that_was_answered_stands_when_the_server_ends_the_connection_in_the_same_breath() -> None:
    wire = Wire(ServersEnd())
    answer = wire.send(b"COMMIT")

    wire.data_received(packet(OK) + packet(KILLED, sequence=0))

    response = await answer
    assert response.error is None
    assert len(response.results) == 1
    assert wire.lost


@pytest.mark.parametrize("behind", [b"\x00", packet(b"", sequence=0)])
async def test_whatever_comes_behind_an_answer_ends_the_connection(behind: bytes) -> None:
    wire = Wire(ServersEnd())
    answer = wire.send(b"COMMIT")

    wire.data_received(packet(OK) + behind)

    assert (await answer).error is None
    with pytest.raises(ConnectionLostError):
        await wire.send(b"SELECT 1")


async def test_answers_that_come_in_pieces_are_read_one_after_the_other() -> None:
    wire = Wire(ServersEnd())

    for _ in range(3):
        answer = wire.send(b"COMMIT")
        for byte in packet(OK):
            wire.data_received(bytes([byte]))

        assert len((await answer).results) == 1
    assert not wire.lost


@pytest.mark.parametrize("size", [0, 1, PAYLOAD_MAX - 2, PAYLOAD_MAX - 1, PAYLOAD_MAX, 2 * PAYLOAD_MAX - 1])
async def test_a_large_packet_goes_on_in_the_next_ones_and_the_last_is_shorter_than_full(size: int) -> None:
    server = ServersEnd()
    statements = b"7" * size

    Wire(server).send(statements)

    parts: list[bytes] = []
    position = 0
    while position < len(server.written):
        length = int.from_bytes(server.written[position : position + 3], "little")
        assert server.written[position + 3] == len(parts)
        parts.append(server.written[position + 4 : position + 4 + length])
        position += 4 + length
    assert b"".join(parts) == b"\x03" + statements
    assert {len(part) for part in parts[:-1]} <= {PAYLOAD_MAX}
    assert len(parts[-1]) < PAYLOAD_MAX


async def test_what_was_told_of_the_results_is_let_go_with_the_last_one() -> None:
    class Plan:
        def note(self, results: int) -> None:
            pass

    plan = Plan()
    gone = weakref.ref(plan)
    wire = Wire(ServersEnd())
    answer = wire.send(b"COMMIT", plan.note)
    del plan

    wire.data_received(packet(OK))

    await answer
    assert gone() is None
