"""The keys that sign tokens: JWK set files in a folder, read again when they change.

Each file holds `{"keys": [...]}` with private RSA keys. Two members of our own may stand beside RFC 7517's: `status`
(`prepared`: published only; `active`: may sign, the default; `retiring`: published only) and `iat` (seconds since 1970,
when it was made). The newest active key signs; all are published, so that a token outlives its key's turn.

A key that comes into the folder as `active` is published for a while before it signs, while there is an older active
key: verifiers that have a copy of the set, and replicas whose mount is slower, hear of it first. A key that was
`prepared` for that long signs as soon as it is active; and when no other key is active any more, there is no choice. Of
several that are all too young, the one signs that is published longest.

A Kubernetes Secret is mounted as such a folder and changes by an atomic swap of a link; files whose names begin with a
dot are its own and are not read.
"""

import asyncio
import math
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import msgspec
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from services.runtime.clock import Clock, SystemClock
from services.runtime.errors import UnavailableError

logger = structlog.get_logger(__name__)

ALGORITHM = "RS256"
"""The only algorithm: every verifier has an allow-list of one."""

KEY_BITS = 2048
"""NIST SP 800-131A: enough beyond 2030, and a signature stays near 1 ms."""

RELOAD_SECONDS = 2.0
"""How often the folder is looked at; the operator publishes a key minutes before it signs."""

FILE_NAME = "signing-keys.json"
"""What `ensure_keys` makes."""


class KeysError(Exception):
    """The folder has no key that can sign, or holds something that isn't a key set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One private key."""

    key: RSAKey
    key_id: str
    """The RFC 7638 thumbprint."""
    status: Literal["prepared", "active", "retiring"]
    made_at_seconds: int


class _KeyFile(msgspec.Struct):
    keys: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """All keys of one reading of the folder."""

    keys: tuple[SigningKey, ...]
    active: SigningKey

    @classmethod
    def of(cls, keys: Iterable[SigningKey], *, unannounced: Mapping[str, float] = MappingProxyType({})) -> "KeySet":
        """Choose the newest active key, and one that verifiers may not know yet only if there is no other.

        Of those made in one second it is the last one that was read: whoever adds a key adds it behind the others.

        Args:
            keys: All of them.
            unannounced: Those that verifiers may not know yet, and since when each is published. If all may be unknown,
                the one is chosen that more of them know, which is published longest.

        Raises:
            KeysError: None is active.
        """
        unique = tuple({key.key_id: key for key in keys}.values())
        candidates = [key for key in unique if key.status == "active"]
        if not candidates:
            raise KeysError("no key is active: nothing can be signed")
        announced = [key for key in candidates if key.key_id not in unannounced]
        # Of equals `max` takes the first.
        chosen = max(
            reversed(announced or candidates),
            key=lambda key: (-unannounced.get(key.key_id, -math.inf), key.made_at_seconds),
        )
        return cls(keys=unique, active=chosen)

    def public(self) -> dict[str, list[dict[str, str]]]:
        """Return the JWK set that verifiers read: public members only, the active key first."""
        ordered = sorted(self.keys, key=lambda key: (key is not self.active, -key.made_at_seconds, key.key_id))
        return {"keys": [_public_jwk(key) for key in ordered]}


class KeyRing:
    """The keys as they are now; reading a broken folder keeps the last good ones."""

    def __init__(
        self,
        folder: Path,
        *,
        reload_seconds: float = RELOAD_SECONDS,
        announce_seconds: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        """Read the folder.

        Args:
            folder: Where the key files are.
            reload_seconds: How often it is looked at.
            announce_seconds: How long a key is published before it signs, while there is another.
            clock: Tells how long a key has been published.

        Raises:
            KeysError: See `read_keys`.
        """
        self._folder = folder
        self._reload_seconds = reload_seconds
        self._announce_seconds = announce_seconds
        self._clock = clock or SystemClock()
        self._fingerprint = _fingerprint(folder)
        self._trouble: str | None = None
        self._reading = asyncio.Lock()
        found = read_keys(folder)
        # Another replica, or this one before its restart, may have published them since they were made; not earlier.
        self._published_at_seconds = {key.key_id: float(key.made_at_seconds) for key in found.keys}
        self.current = self._chosen(found.keys)

    def sign(self, claims: dict[str, Any]) -> str:
        """Make a JWT of these claims: header `typ` at+jwt (RFC 9068), `kid`, RS256."""
        active = self.current.active
        return jwt.encode({"alg": ALGORITHM, "typ": "at+jwt", "kid": active.key_id}, claims, active.key)

    async def find(self, key_id: str) -> RSAKey | None:
        """Return the key that has this id, or None; fits the verifier's `PublicKeys`.

        An unknown one is looked for in the folder first: another replica, whose mount or clock was quicker, may sign
        with it already.
        """
        known = self._known(key_id)
        if known is None and await self._read_again():
            known = self._known(key_id)
        return known

    async def watch(self) -> None:
        """Read the folder again whenever it changes, until cancelled."""
        while True:
            await asyncio.sleep(self._reload_seconds)
            await self._read_again()

    async def check(self) -> None:
        """Fit a hint of readiness.

        Raises:
            UnavailableError: The folder can't be used: older keys sign and verify.
        """
        if self._trouble is not None:
            raise UnavailableError(f"older keys are in use: {self._trouble}", reason="keys_not_reloaded")

    def reload_if_changed(self) -> bool:
        """Read the folder again if it changed, and say whether other keys are in use now."""
        fingerprint = _fingerprint(self._folder)
        if fingerprint == self._fingerprint:
            self._trouble = None
            return self._use(self._chosen(self.current.keys))
        try:
            keys = self._chosen(read_keys(self._folder).keys)
        except (KeysError, OSError) as error:
            self._trouble = str(error)
            logger.warning("keys_not_reloaded", folder=str(self._folder), error=str(error))
            return False
        self._fingerprint, self._trouble = fingerprint, None
        return self._use(keys)

    async def _read_again(self) -> bool:
        async with self._reading:
            return await asyncio.to_thread(self.reload_if_changed)

    def _known(self, key_id: str) -> RSAKey | None:
        return next((key.key for key in self.current.keys if key.key_id == key_id), None)

    def _chosen(self, keys: Iterable[SigningKey]) -> KeySet:
        """Choose who signs now, and note since when each key is published."""
        found = tuple(keys)
        now_seconds = self._clock.now().timestamp()
        self._published_at_seconds = {
            key.key_id: self._published_at_seconds.get(key.key_id, now_seconds) for key in found
        }
        announced_seconds = now_seconds - self._announce_seconds
        young = {
            key_id: seconds for key_id, seconds in self._published_at_seconds.items() if seconds > announced_seconds
        }
        return KeySet.of(found, unannounced=young)

    def _use(self, keys: KeySet) -> bool:
        if keys == self.current:
            return False
        self.current = keys
        logger.info("keys_in_use", key_ids=[key.key_id for key in keys.keys], active=keys.active.key_id)
        return True


def read_keys(folder: Path) -> KeySet:
    """Read all key files of a folder.

    Raises:
        KeysError: The folder is missing or empty, a file isn't a set of private RSA keys, a `kid` isn't the key's
            thumbprint, or no key is active.
    """
    files = _key_files(folder)
    if not files:
        raise KeysError(f"no key file (*.json) in {folder}")
    return KeySet.of(key for file in files for key in _read_file(file))


def ensure_keys(folder: Path, *, clock: Clock | None = None) -> Path:
    """Make a folder with one new key unless it has a key file already, and return the folder.

    Safe when two processes start at once: one file wins and both read it. Only its owner may read it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _key_files(folder):
        return folder
    made_at_seconds = int((clock or SystemClock()).now().timestamp())
    content = msgspec.json.encode({"keys": [generate_jwk(made_at_seconds=made_at_seconds)]})
    draft = folder / f".{FILE_NAME}.{secrets.token_hex(8)}"
    draft.touch(mode=0o600)
    draft.write_bytes(content)
    try:
        os.link(draft, folder / FILE_NAME)  # unlike a rename, this never replaces a file that is there
    except FileExistsError:
        logger.info("keys_made_by_another_process", folder=str(folder))
    finally:
        draft.unlink()
    return folder


def generate_jwk(*, made_at_seconds: int, status: str = "active") -> dict[str, Any]:
    """Make a new private key as a JWK with its thumbprint as `kid`."""
    key = RSAKey.generate_key(KEY_BITS)
    members: dict[str, Any] = dict(key.as_dict(private=True))
    return members | {
        "kid": key.thumbprint(),
        "use": "sig",
        "alg": ALGORITHM,
        "iat": made_at_seconds,
        "status": status,
    }


def _read_file(file: Path) -> list[SigningKey]:
    try:
        members = msgspec.json.decode(file.read_bytes(), type=_KeyFile).keys
    except msgspec.MsgspecError as error:
        raise KeysError(f"{file.name} is no JWK set") from error
    return [_signing_key(file, jwk) for jwk in members]


def _signing_key(file: Path, jwk: dict[str, Any]) -> SigningKey:
    try:
        key = RSAKey.import_key({name: value for name, value in jwk.items() if name not in {"iat", "status"}})
        thumbprint = key.thumbprint()
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise KeysError(f"{file.name} holds something that is no RSA key") from error
    if not key.is_private:
        raise KeysError(f"{file.name} holds a key without its private part")
    if jwk.get("kid", thumbprint) != thumbprint:
        raise KeysError(f"{file.name} holds a key whose kid is not its RFC 7638 thumbprint")
    status, made_at = jwk.get("status", "active"), jwk.get("iat", 0)
    if status not in {"prepared", "active", "retiring"} or not isinstance(made_at, int):
        raise KeysError(f"{file.name} holds a key with an unknown status or a malformed iat")
    return SigningKey(key=key, key_id=thumbprint, status=status, made_at_seconds=made_at)


def _public_jwk(key: SigningKey) -> dict[str, str]:
    public = key.key.as_dict(private=False)
    return {
        "kty": "RSA",
        "use": "sig",
        "alg": ALGORITHM,
        "kid": key.key_id,
        "n": str(public["n"]),
        "e": str(public["e"]),
    }


def _key_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.json") if not file.name.startswith(".") and file.is_file())


def _fingerprint(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Tell whether a folder changed, without reading keys: names, inodes, sizes and times of the files linked to."""
    marks = []
    for file in _key_files(folder):
        try:
            found = file.stat()
        except FileNotFoundError:
            continue
        marks.append((file.name, found.st_ino, found.st_size, found.st_mtime_ns))
    return tuple(marks)
