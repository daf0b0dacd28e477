"""Where an embedded platform keeps everything: databases, event log, keys and secrets, for its owner's eyes only."""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from services.runtime.errors import ConflictError, InvalidArgumentError

DEFAULT_DATA_FOLDER = Path(".tradeflow")
"""In the folder that `tradeflow` is called from, as `make` does."""

FOLDER_MODE = 0o700
"""Nobody else may look in."""

PLATFORMS_OWN = ("ledger", "orders.db", "broker.db", "keys", "secrets.json", "addresses.json", "lock", "replay")
"""How the names in a data folder begin: by one of them it is known."""

FILE_SYSTEMS_OWN = frozenset({"lost+found"})
"""In the root of a volume that was made for it."""

SECRET_FILE_MODE = 0o600
"""Nobody else may read."""

SECRET_BYTES = 24
"""192 random bits: 32 characters."""

LOCK_ATTEMPTS_MAX = 5
"""Tries at a lock that is held."""

LOCK_PAUSE_SECONDS = 0.02
"""Between two tries; who only looks is done sooner."""

TREASURY_EMAIL = "treasury@tradeflow.example"
"""Who may deposit money."""

OPERATOR_EMAIL = "operator@tradeflow.example"
"""Who may watch the platform."""


class DataFolderInUseError(ConflictError):
    """Another platform runs on this folder."""

    default_reason = "data_folder_in_use"


class BadDataFolderError(InvalidArgumentError):
    """The folder is not what it should be."""

    default_reason = "bad_data_folder"


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """What only this platform's parts and its owner know."""

    treasury_password: str
    operator_password: str
    orders_client_secret: str

    @classmethod
    def new(cls) -> "Secrets":
        """Draw all of them."""
        return cls(**{name: secrets.token_urlsafe(SECRET_BYTES) for name in cls.__struct_fields__})


@dataclass(frozen=True, slots=True)
class DataFolder:
    """One platform's folder; the paths exist once the platform ran."""

    path: Path

    @property
    def ledger_database(self) -> Path:
        """The ledger's SQLite file."""
        return self.path / "ledger.db"

    @property
    def orders_database(self) -> Path:
        """The orders service's SQLite file."""
        return self.path / "orders.db"

    @property
    def broker_file(self) -> Path:
        """The event log's SQLite file."""
        return self.path / "broker.db"

    @property
    def keys(self) -> Path:
        """The gateway's private signing keys."""
        return self.path / "keys"

    @property
    def ledger_keys(self) -> Path:
        """The ledger's private keys, which sign where the book stands."""
        return self.path / "ledger-keys"

    @property
    def secrets_file(self) -> Path:
        """The bootstrap users' passwords and the services' secrets, as JSON."""
        return self.path / "secrets.json"

    @property
    def addresses_file(self) -> Path:
        """Where the platform that runs on this folder listens, as JSON; what an older one left says nothing."""
        return self.path / "addresses.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the platform that runs on this folder, whose process id it holds."""
        return self.path / "lock"

    def prepare(self) -> None:
        """Make the folder, and make it private.

        Raises:
            BadDataFolderError: The path is something else, or not ours to write, or others' things are in it: whoever
                uses /tmp would be locked out of it.
        """
        try:
            self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            if self._is_somebody_elses():
                raise BadDataFolderError(
                    f"{self.path.resolve()} has other things in it. Give --data a folder of its own, which is made "
                    "private: a new one, or an empty one."
                )
            self.path.chmod(FOLDER_MODE)
        except OSError as error:
            raise BadDataFolderError(f"{self.path} can't be a data folder: {error.strerror}.") from error

    def _is_somebody_elses(self) -> bool:
        """Tell whether there are things in the folder, and none of a platform."""
        names = {entry.name.lstrip(".") for entry in self.path.iterdir()} - FILE_SYSTEMS_OWN
        return bool(names) and not any(name.startswith(PLATFORMS_OWN) for name in names)

    def check_databases_exist(self) -> None:
        """Make sure that a platform ran here before.

        Raises:
            BadDataFolderError: It has no databases.
        """
        for file in (self.ledger_database, self.orders_database, self.broker_file):
            if not file.is_file():
                raise BadDataFolderError(f"{self.path} has no {file.name}: `tradeflow up` or `demo` makes one.")

    def secrets(self) -> Secrets:
        """Read the secrets, or draw them the first time.

        Raises:
            BadDataFolderError: The file was damaged.
        """
        try:
            return msgspec.json.decode(self.secrets_file.read_bytes(), type=Secrets)
        except FileNotFoundError:
            drawn = Secrets.new()
            _write_private(self.secrets_file, msgspec.json.format(msgspec.json.encode(drawn), indent=2) + b"\n")
            return drawn
        except msgspec.MsgspecError as error:
            raise BadDataFolderError(f"{self.secrets_file} can't be read: {error}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other platform out of the folder until the end, or until this process dies.

        The lock is the operating system's (flock): it ends with its process, however that ends, so a file left behind
        by a killed platform locks nothing.

        Raises:
            DataFolderInUseError: Another process has it; the message says which.
        """
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, SECRET_FILE_MODE)
        try:
            self._lock(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def owner(self) -> int | None:
        """Tell the process id of the platform that runs on this folder, if one does."""
        with contextlib.suppress(FileNotFoundError), self.lock_file.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or b"0")
        return None

    def _lock(self, descriptor: int) -> None:
        """Take the lock; somebody who only looks (`owner`) has it for a moment, so one refusal is not the answer."""
        for _ in range(LOCK_ATTEMPTS_MAX):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(LOCK_PAUSE_SECONDS)
        owner = os.pread(descriptor, 32, 0).decode() or "unknown"
        raise DataFolderInUseError(
            f"{self.path.resolve()} is in use by the platform with process id {owner}. Stop that one first, or choose "
            f"another folder with --data.",
            details={"process_id": owner},
        )


def _write_private(file: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_FILE_MODE)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(descriptor)
    draft.replace(file)
