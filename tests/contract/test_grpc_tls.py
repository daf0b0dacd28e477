"""TLS and mutual TLS of gRPC doors, by settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from services.runtime.grpc_channel import open_channel
from services.runtime.grpc_server import serving_grpc
from services.runtime.grpc_tls import GrpcClientSettings, GrpcServerSettings
from tests.support.certificates import Authority


class DoorSettings(GrpcServerSettings):
    """A door's."""

    model_config = SettingsConfigDict(env_prefix="TRADEFLOW_TEST_")


class CallerSettings(GrpcClientSettings):
    """A caller's."""

    model_config = SettingsConfigDict(env_prefix="TRADEFLOW_TEST_")


@asynccontextmanager
async def serving(settings: DoorSettings) -> AsyncIterator[str]:
    async with serving_grpc(
        "127.0.0.1", 0, register=lambda _: None, service_names=[], credentials=settings.server_credentials()
    ) as target:
        yield target


async def answer_of(target: str, settings: CallerSettings) -> str:
    """Ask a door for its health over a new connection: SERVING, or the status of the failure."""
    async with open_channel(target, credentials=settings.channel_credentials()) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=20)
        except grpc.aio.AioRpcError as error:
            return error.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def door(authority: Authority, *, clients_of: Authority | None = None) -> DoorSettings:
    certificate_file, key_file = authority.issue("door")
    return DoorSettings(
        grpc_server_certificate_file=certificate_file,
        grpc_server_key_file=key_file,
        grpc_server_client_ca_file=None if clients_of is None else clients_of.ca_file,
    )


def caller(trusted: Authority, *, shown: Authority | None = None) -> CallerSettings:
    certificate_file, key_file = (None, None) if shown is None else shown.issue("caller")
    return CallerSettings(
        grpc_client_ca_file=trusted.ca_file,
        grpc_client_certificate_file=certificate_file,
        grpc_client_key_file=key_file,
    )


async def test_a_door_with_a_certificate_answers_those_who_trust_it_and_nobody_who_speaks_plainly(
    tmp_path: Path,
) -> None:
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    async with serving(door(ours)) as target:
        assert await answer_of(target, caller(ours)) == "SERVING"
        assert await answer_of(target, caller(others)) == "UNAVAILABLE"
        assert await answer_of(target, CallerSettings()) == "UNAVAILABLE"


async def test_a_door_that_asks_for_certificates_answers_those_alone_whose_authority_it_knows(tmp_path: Path) -> None:
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    async with serving(door(ours, clients_of=ours)) as target:
        assert await answer_of(target, caller(ours, shown=ours)) == "SERVING"
        assert await answer_of(target, caller(ours, shown=others)) == "UNAVAILABLE"
        assert await answer_of(target, caller(ours)) == "UNAVAILABLE"


async def test_a_certificate_that_was_renewed_is_shown_from_the_next_handshake_on(tmp_path: Path) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    settings = door(old)
    async with serving(settings) as target:
        assert await answer_of(target, caller(old)) == "SERVING"
        for file in new.issue("door"):
            (tmp_path / "old" / file.name).write_bytes(file.read_bytes())

        assert await answer_of(target, caller(new)) == "SERVING"
        assert await answer_of(target, caller(old)) == "UNAVAILABLE"


async def test_a_renewal_that_is_half_done_leaves_what_was_there(tmp_path: Path) -> None:
    ours = Authority(tmp_path / "ours")
    settings = door(ours)
    async with serving(settings) as target:
        assert settings.grpc_server_key_file is not None
        settings.grpc_server_key_file.unlink()

        assert await answer_of(target, caller(ours)) == "SERVING"


def test_without_files_everybody_speaks_plainly() -> None:
    assert DoorSettings().server_credentials() is None
    assert CallerSettings().channel_credentials() is None


@pytest.mark.parametrize(
    ("settings_class", "given", "complaint"),
    [
        (DoorSettings, {"grpc_server_key_file"}, "go together"),
        (DoorSettings, {"grpc_server_certificate_file"}, "go together"),
        (DoorSettings, {"grpc_server_client_ca_file"}, "needs grpc_server_certificate_file"),
        (CallerSettings, {"grpc_client_ca_file", "grpc_client_key_file"}, "go together"),
        (CallerSettings, {"grpc_client_certificate_file", "grpc_client_key_file"}, "needs grpc_client_ca_file"),
    ],
)
def test_files_that_make_no_sense_alone_are_refused(
    tmp_path: Path, settings_class: type[DoorSettings | CallerSettings], given: set[str], complaint: str
) -> None:
    file = tmp_path / "some.pem"
    file.touch()

    with pytest.raises(ValidationError, match=complaint):
        settings_class.model_validate(dict.fromkeys(given, file))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="grpc_client_ca_file"):
        CallerSettings(grpc_client_ca_file=tmp_path / "nowhere.pem")
