"""What a run remembers in the data folder.

The list of placed orders is a cache: it saves asking again, and losing it costs time and nothing else, since the
idempotency keys are derived from the file. The secret is no cache: the customers' passwords are derived from it, so
without it a later run can't sign in as them.
"""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Self, TextIO
from uuid import UUID

import msgspec

SECRET_BYTES = 32
"""As long as the HMAC's output; more adds nothing."""


class RememberedOrder(msgspec.Struct, frozen=True, tag="order"):
    """An order that was answered: its idempotency key and the platform's id."""

    key: str
    order_id: UUID


class RememberedCustomer(msgspec.Struct, frozen=True, tag="customer"):
    """A customer who is registered."""

    email: str


_decoder = msgspec.json.Decoder(RememberedOrder | RememberedCustomer)


class Memory:
    """The cache of one run: a file of JSON lines that only grows."""

    def __init__(self, path: Path) -> None:
        """Read what an earlier run left; a line that a crash cut short is ignored."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.orders: dict[str, UUID] = {}
        self.customers: set[str] = set()
        for remembered in _read(path):
            if isinstance(remembered, RememberedOrder):
                self.orders[remembered.key] = remembered.order_id
            else:
                self.customers.add(remembered.email)
        self._file: TextIO = path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def order_placed(self, key: str, order_id: UUID) -> None:
        """Remember an order that the platform confirmed."""
        self.orders[key] = order_id
        self._append(RememberedOrder(key=key, order_id=order_id))

    def customer_registered(self, email: str) -> None:
        """Remember a customer."""
        self.customers.add(email)
        self._append(RememberedCustomer(email=email))

    def _append(self, remembered: RememberedOrder | RememberedCustomer) -> None:
        # A new line goes first, so that a line which a crash cut short spoils no other.
        self._file.write("\n" + msgspec.json.encode(remembered).decode())
        self._file.flush()


def load_secret(path: Path) -> bytes:
    """Read the secret, or make it; two runs at once end with the same one."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(secrets.token_hex(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return bytes.fromhex(path.read_text(encoding="ascii"))


def _read(path: Path) -> Iterator[RememberedOrder | RememberedCustomer]:
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            yield _decoder.decode(line)
        except msgspec.DecodeError:
            continue
