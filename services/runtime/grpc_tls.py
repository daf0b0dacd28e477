"""TLS and mutual TLS for gRPC, by settings: which files a door shows, and which ones a caller trusts and shows.

A door reads its files anew when they change, at the next handshake, so that certificates can be renewed in place.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import grpc
import structlog
from pydantic import FilePath, model_validator

from services.runtime.settings import ServiceSettings

logger = structlog.get_logger(__name__)


class GrpcServerSettings(ServiceSettings):
    """What a gRPC door shows to those who call."""

    grpc_server_certificate_file: FilePath | None = None
    """The PEM file of the gRPC door's certificate chain; with it and its key the door speaks TLS only."""

    grpc_server_key_file: FilePath | None = None
    """The PEM file of the private key to that certificate."""

    grpc_server_client_ca_file: FilePath | None = None
    """The PEM file of the authorities whose certificates callers of the gRPC door must show: mutual TLS."""

    @model_validator(mode="after")
    def _check_server_files(self) -> Self:
        if (self.grpc_server_certificate_file is None) != (self.grpc_server_key_file is None):
            raise ValueError("grpc_server_certificate_file and grpc_server_key_file go together")
        if self.grpc_server_client_ca_file is not None and self.grpc_server_key_file is None:
            raise ValueError("grpc_server_client_ca_file needs grpc_server_certificate_file")
        return self

    def server_credentials(self) -> grpc.ServerCredentials | None:
        """Make the door's credentials, or None where it speaks plainly.

        Raises:
            OSError: A file can't be read.
        """
        if self.grpc_server_certificate_file is None or self.grpc_server_key_file is None:
            return None
        files = [self.grpc_server_key_file, self.grpc_server_certificate_file]
        if self.grpc_server_client_ca_file is not None:
            files.append(self.grpc_server_client_ca_file)
        first = _configuration(files)
        return grpc.dynamic_ssl_server_credentials(
            first,
            _renewing(files),  # type: ignore[arg-type] # None means: as before, which the stubs don't know
            require_client_authentication=self.grpc_server_client_ca_file is not None,
        )


class GrpcClientSettings(ServiceSettings):
    """What a caller of gRPC doors trusts and shows."""

    grpc_client_ca_file: FilePath | None = None
    """The PEM file of the authorities that gRPC doors are trusted by; with it, calls go over TLS."""

    grpc_client_certificate_file: FilePath | None = None
    """The PEM file of the certificate chain that is shown to gRPC doors which ask for one: mutual TLS."""

    grpc_client_key_file: FilePath | None = None
    """The PEM file of the private key to that certificate."""

    @model_validator(mode="after")
    def _check_client_files(self) -> Self:
        if (self.grpc_client_certificate_file is None) != (self.grpc_client_key_file is None):
            raise ValueError("grpc_client_certificate_file and grpc_client_key_file go together")
        if self.grpc_client_key_file is not None and self.grpc_client_ca_file is None:
            raise ValueError("grpc_client_certificate_file needs grpc_client_ca_file")
        return self

    def channel_credentials(self) -> grpc.ChannelCredentials | None:
        """Make a caller's credentials, or None where calls go plainly.

        Raises:
            OSError: A file can't be read.
        """
        if self.grpc_client_ca_file is None:
            return None
        return grpc.ssl_channel_credentials(
            self.grpc_client_ca_file.read_bytes(),
            None if self.grpc_client_key_file is None else self.grpc_client_key_file.read_bytes(),
            None if self.grpc_client_certificate_file is None else self.grpc_client_certificate_file.read_bytes(),
        )


def _configuration(files: Sequence[Path]) -> grpc.ServerCertificateConfiguration:
    key, chain, *client_ca = (file.read_bytes() for file in files)
    return grpc.ssl_server_certificate_configuration([(key, chain)], client_ca[0] if client_ca else None)


def _renewing(files: Sequence[Path]) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    """Make what gRPC asks before each handshake: the new files, or None while they are as they were."""
    seen = _written_at(files)

    def look() -> grpc.ServerCertificateConfiguration | None:
        nonlocal seen
        try:
            now = _written_at(files)
            if now == seen:
                return None
            renewed = _configuration(files)
        except OSError as error:  # being replaced just now: the next handshake looks again
            logger.warning("grpc_certificate_unreadable", error=str(error))
            return None
        seen = now
        logger.info("grpc_certificate_renewed", file=str(files[1]))
        return renewed

    return look


def _written_at(files: Sequence[Path]) -> list[tuple[int, int]]:
    """Tell when files were written, and which ones they are: mounted secrets are replaced by turning a link."""
    return [(status.st_mtime_ns, status.st_ino) for status in (file.stat() for file in files)]
