"""Where the platform that runs on a data folder listens: written beside its data for the command line to find."""

from typing import Self

import msgspec

from services.embedded.data_folder import DataFolder
from services.embedded.options import Platform


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """A running platform's doors."""

    gateway_url: str
    orders_url: str
    ledger_url: str
    orders_grpc_target: str
    ledger_grpc_target: str

    @classmethod
    def of(cls, folder: DataFolder) -> Self | None:
        """Read where the folder's platform listens; None when none runs, or when it has just begun."""
        if folder.owner() is None:
            return None
        try:
            return msgspec.json.decode(folder.addresses_file.read_bytes(), type=cls)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None


def write_addresses(running: Platform) -> None:
    """Say where a platform listens, for as long as it holds its folder's lock."""
    addresses = Addresses(**{name: getattr(running, name) for name in Addresses.__struct_fields__})
    running.folder.addresses_file.write_bytes(msgspec.json.encode(addresses))
