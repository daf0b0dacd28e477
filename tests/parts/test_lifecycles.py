"""Each kind of server beside the databases: it starts, dies, hangs and comes back at one address."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parts.opening import PARTS, open_server
from tests.parts.server import Server, ServerFailedError

VERSIONS = {
    "kafka": "MkU3",
    "redis": "7.",
    "registry": "3.3.",
    "zipkin": "3.6.",
    "prometheus": "3.",
    "kubernetes": "v1.",
}
"""How the answer begins: a version, or the id of a Kafka cluster."""

MakeServer = Callable[..., Server]


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.part(name)) for name in VERSIONS])
def part(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.timeout(600)
def test_a_server_answers_at_one_address_through_kills_pauses_and_restarts(
    part: str, private_server: MakeServer
) -> None:
    server, ask = private_server(part), PARTS[part].ask
    url = server.start()
    assert ask(url).startswith(VERSIONS[part])

    server.pause()
    with pytest.raises(OSError, match="doesn't answer"):
        ask(url)
    server.resume()
    assert ask(url).startswith(VERSIONS[part])

    server.kill()
    assert not server.is_running()
    with pytest.raises(OSError, match="doesn't answer"):
        ask(url)
    assert server.start() == url

    found = open_server(part, server.log_file.parent)
    assert found.is_running()
    found.stop()
    assert not server.is_running()


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.part(name)) for name in ("redis", "prometheus")])
def test_a_server_that_does_not_start_names_its_log(name: str, private_server: MakeServer) -> None:
    server = private_server(name, ("--no-such-flag",))

    with pytest.raises(ServerFailedError) as failure:
        server.start()

    assert str(server.log_file) in str(failure.value)
    assert not server.is_running()


def test_a_folder_keeps_the_flags_of_its_server(tmp_path: Path) -> None:
    plain, encrypted = (open_server("kafka", tmp_path, flags).url for flags in ((), ("--tls", "--sasl")))

    assert "tls" not in plain
    assert open_server("kafka", tmp_path).url == encrypted
    assert encrypted.startswith("kafka://admin:")
