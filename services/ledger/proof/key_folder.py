"""The private keys that sign heads: JWK set files in a folder.

Each file (`*.json`, no leading dot) holds `{"keys": [...]}` with Ed25519 keys as in RFC 8037. Beside its members may
stand `iat` (seconds since 1970, when it was made) and `status`: `active` (the default: may sign) or `retired`. The
newest active key signs. Old keys stay in the folder, retired: the last one before a new key vouches for it.
"""

import os
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.ledger.proof.heads import thumbprint
from services.runtime.clock import Clock, SystemClock
from services.runtime.errors import InvalidArgumentError

FILE_NAME = "ledger-signing-keys.json"
"""What `ensure_signing_keys` makes."""


class SigningKeysError(InvalidArgumentError):
    """The folder has no key that can sign, or holds something else."""

    default_reason = "signing_keys_unusable"


class _PrivateJwk(msgspec.Struct, kw_only=True):
    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    d: str
    x: str
    kid: str | None = None
    status: Literal["active", "retired"] = "active"
    iat: int = 0


class _KeyFile(msgspec.Struct):
    keys: list[_PrivateJwk]


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One private key; fits `Signer`."""

    key_id: str
    private: Ed25519PrivateKey
    is_active: bool
    made_at_seconds: int

    @property
    def public_bytes(self) -> bytes:
        """Give the public key's 32 bytes."""
        return self.private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Sign; 64 bytes."""
        return self.private.sign(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeys:
    """All keys of one reading of the folder, oldest first."""

    keys: tuple[SigningKey, ...]

    @property
    def active(self) -> SigningKey:
        """Choose the newest active key."""
        return [key for key in self.keys if key.is_active][-1]

    def find(self, key_id: str | None) -> SigningKey | None:
        """Find a key by its name."""
        return next((key for key in self.keys if key.key_id == key_id), None)


def read_signing_keys(folder: Path) -> SigningKeys:
    """Read all key files of a folder.

    Raises:
        SigningKeysError: There is no active key, a file isn't a set of private Ed25519 keys, or a `kid` isn't the key's
            thumbprint.
    """
    keys = {key.key_id: key for file in _key_files(folder) for key in _read_file(file)}
    ordered = sorted(keys.values(), key=lambda key: (key.made_at_seconds, key.key_id))
    if not any(key.is_active for key in ordered):
        raise SigningKeysError(f"There is no active key in {folder}.")
    return SigningKeys(keys=tuple(ordered))


def ensure_signing_keys(folder: Path, *, clock: Clock | None = None) -> Path:
    """Make a folder with one new key unless it has a key file already, and return the folder.

    Safe when two processes start at once: one file wins and both read it. Only its owner may read it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _key_files(folder):
        made_at_seconds = int((clock or SystemClock()).now().timestamp())
        add_signing_key(folder, FILE_NAME, made_at_seconds=made_at_seconds)
    return folder


def add_signing_key(folder: Path, name: str, *, made_at_seconds: int) -> None:
    """Make a new key in a file of its own; a file that is there stays as it is."""
    private = Ed25519PrivateKey.generate()
    public_bytes = private.public_key().public_bytes_raw()
    jwk = _PrivateJwk(
        kty="OKP",
        crv="Ed25519",
        d=urlsafe_b64encode(private.private_bytes_raw()).rstrip(b"=").decode(),
        x=urlsafe_b64encode(public_bytes).rstrip(b"=").decode(),
        kid=thumbprint(public_bytes),
        iat=made_at_seconds,
    )
    draft = folder / f".{name}.{secrets.token_hex(8)}"
    draft.touch(mode=0o600)
    draft.write_bytes(msgspec.json.encode(_KeyFile([jwk])))
    try:
        os.link(draft, folder / name)  # unlike a rename, this never replaces a file that is there
    except FileExistsError:
        return
    finally:
        draft.unlink()


def _read_file(file: Path) -> list[SigningKey]:
    try:
        members = msgspec.json.decode(file.read_bytes(), type=_KeyFile).keys
        return [_signing_key(jwk) for jwk in members]
    except (msgspec.MsgspecError, ValueError) as error:
        raise SigningKeysError(f"{file.name} is no set of private Ed25519 keys.") from error


def _signing_key(jwk: _PrivateJwk) -> SigningKey:
    private = Ed25519PrivateKey.from_private_bytes(urlsafe_b64decode(jwk.d + "=" * (-len(jwk.d) % 4)))
    key_id = thumbprint(private.public_key().public_bytes_raw())
    if jwk.kid not in {None, key_id}:
        raise ValueError("a kid is not the key's thumbprint")
    return SigningKey(key_id=key_id, private=private, is_active=jwk.status == "active", made_at_seconds=jwk.iat)


def _key_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.json") if not file.name.startswith(".") and file.is_file())
