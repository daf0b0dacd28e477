"""The port that the gateway is told before it listens."""

import socket

import pytest

from services.embedded.service_settings import free_port

HOST = "127.0.0.1"

OUTGOING_PORTS = range(32_768, 61_000)
"""Which ports Linux gives to outgoing connections, by default."""


def test_no_outgoing_connection_takes_the_port_meanwhile() -> None:
    assert not {free_port(HOST) for _ in range(20)} & set(OUTGOING_PORTS)


def test_a_port_that_somebody_listens_at_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = free_port(HOST), free_port(HOST)

    with socket.create_server((HOST, taken)):
        monkeypatch.setattr("random.sample", lambda *_: [taken, free])
        assert free_port(HOST) == free

        monkeypatch.setattr("random.sample", lambda *_: [taken])
        with pytest.raises(OSError, match="no free port"):
            free_port(HOST)
