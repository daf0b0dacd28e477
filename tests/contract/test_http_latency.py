"""An answer leaves at once: its second packet never waits for the peer to acknowledge the first."""

import socket

from services.runtime.http_server import _listen


def test_accepted_connections_send_without_delay() -> None:
    with _listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()

        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
