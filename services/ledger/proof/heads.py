"""Signed heads and the keys that sign them: what is signed, byte by byte, and how a signature is checked. Pure.

Ed25519 over canonical bytes (see domain/canonical.py) whose first field says what they are, so that a signature of one
kind never passes for another. A key is known by its RFC 7638 thumbprint. Each new key is endorsed by one before it, so
who trusts one key can follow to all later ones. Source: RFC 8032, RFC 8037, RFC 7638.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Protocol

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from services.ledger.domain.canonical import encode_fields

HEAD_PURPOSE = "tradeflow:signed-head:1"
KEY_PURPOSE = "tradeflow:signing-key:1"
STATEMENT_PURPOSE = "tradeflow:statement:1"
"""The first fields of what is signed."""


Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""An instant with its time zone: without one it would be none."""


class SignatureError(ValueError):
    """Something isn't signed by the key that it names, or that key isn't trusted."""


class SignedHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a book stood: the root over its first `tree_size` records, and the hash of the last of them."""

    book_id: int
    tree_size: int
    root: bytes
    last_hash: bytes
    signed_at: Instant
    key_id: str
    signature: bytes


class PublicJwk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public key as a JSON Web Key, and who vouches for it. The first key of a book has nobody."""

    kid: str
    x: str
    introduced_at: Instant
    endorsed_by: str | None = None
    endorsement: bytes | None = None
    kty: str = "OKP"
    crv: str = "Ed25519"
    alg: str = "EdDSA"
    use: str = "sig"

    @property
    def public_bytes(self) -> bytes:
        """Give the key's 32 bytes.

        Raises:
            SignatureError: `x` isn't base64url.
        """
        try:
            return urlsafe_b64decode(self.x + "=" * (-len(self.x) % 4))
        except ValueError as error:
            raise SignatureError(f"key {self.kid} can't be read") from error


class JwkSet(msgspec.Struct, frozen=True):
    """Public keys in the order in which they came into use."""

    keys: list[PublicJwk]


class Signer(Protocol):
    """Signs with one key."""

    @property
    def key_id(self) -> str:
        """Name the key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Sign."""
        ...


def public_jwk(
    public_bytes: bytes, *, introduced_at: datetime, endorsed_by: str | None = None, endorsement: bytes | None = None
) -> PublicJwk:
    """Show a key."""
    return PublicJwk(
        kid=thumbprint(public_bytes),
        x=_base64url(public_bytes),
        introduced_at=introduced_at,
        endorsed_by=endorsed_by,
        endorsement=endorsement,
    )


def thumbprint(public_bytes: bytes) -> str:
    """Name a key by its RFC 7638 thumbprint; RFC 8037, appendix A.3, has an example."""
    members = f'{{"crv":"Ed25519","kty":"OKP","x":"{_base64url(public_bytes)}"}}'
    return _base64url(sha256(members.encode()).digest())


def head_message(*, book_id: int, tree_size: int, root: bytes, last_hash: bytes, signed_at: datetime) -> bytes:
    """Write what the signature of a head is over."""
    return encode_fields(HEAD_PURPOSE, book_id, tree_size, root, last_hash, signed_at)


def sign_head(
    signer: Signer, *, book_id: int, tree_size: int, root: bytes, last_hash: bytes, signed_at: datetime
) -> SignedHead:
    """Sign where a book stands."""
    message = head_message(book_id=book_id, tree_size=tree_size, root=root, last_hash=last_hash, signed_at=signed_at)
    return SignedHead(
        book_id=book_id,
        tree_size=tree_size,
        root=root,
        last_hash=last_hash,
        signed_at=signed_at,
        key_id=signer.key_id,
        signature=signer.sign(message),
    )


def endorse(signer: Signer, public_bytes: bytes, introduced_at: datetime) -> PublicJwk:
    """Vouch for a new key with an old one."""
    message = _endorsement_message(thumbprint(public_bytes), public_bytes, introduced_at)
    return public_jwk(
        public_bytes,
        introduced_at=introduced_at,
        endorsed_by=signer.key_id,
        endorsement=signer.sign(message),
    )


class TrustedKeys:
    """Keys that may be believed: those handed over, and those that they vouch for, directly or by others."""

    def __init__(self, keys: Mapping[str, PublicJwk]) -> None:
        """Believe these keys."""
        self._keys = keys

    @classmethod
    def of(cls, keys: Iterable[PublicJwk], *, anchors: Iterable[PublicJwk] | None = None) -> "TrustedKeys":
        """Follow the endorsements.

        Args:
            keys: What somebody shows.
            anchors: What is trusted beforehand; without it, the shown key that nobody vouches for.

        Raises:
            SignatureError: A key's name isn't its thumbprint, or none is vouched for.
        """
        shown = list(keys)
        for key in shown:
            if thumbprint(key.public_bytes) != key.kid or (key.kty, key.crv) != ("OKP", "Ed25519"):
                raise SignatureError(f"the key {key.kid} is not the key of that name")
        roots = [key for key in shown if key.endorsed_by is None][:1] if anchors is None else list(anchors)
        trusted = {key.kid: key for key in roots if thumbprint(key.public_bytes) == key.kid}
        for key in shown:
            if key.kid not in trusted and key.endorsed_by in trusted:
                message = _endorsement_message(key.kid, key.public_bytes, key.introduced_at)
                _verify(trusted[key.endorsed_by], message, key.endorsement or b"", f"the key {key.kid}")
                trusted[key.kid] = key
        untrusted = [key.kid for key in shown if key.kid not in trusted]
        if untrusted:
            raise SignatureError(f"no trusted key vouches for the key {untrusted[0]}")
        return cls(trusted)

    def check(self, key_id: str, message: bytes, signature: bytes, what: str) -> None:
        """Check a signature; `what` names it in the error.

        Raises:
            SignatureError: Another key signed, or something else was signed.
        """
        key = self._keys.get(key_id)
        if key is None:
            raise SignatureError(f"{what} is signed by {key_id}, which is no trusted key")
        _verify(key, message, signature, what)

    def check_head(self, head: SignedHead) -> None:
        """Check a head's signature.

        Raises:
            SignatureError: It isn't that key's signature of that head.
        """
        message = head_message(
            book_id=head.book_id,
            tree_size=head.tree_size,
            root=head.root,
            last_hash=head.last_hash,
            signed_at=head.signed_at,
        )
        self.check(head.key_id, message, head.signature, f"the head over {head.tree_size} records")


def _endorsement_message(key_id: str, public_bytes: bytes, introduced_at: datetime) -> bytes:
    return encode_fields(KEY_PURPOSE, key_id, public_bytes, introduced_at)


def _verify(key: PublicJwk, message: bytes, signature: bytes, what: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public_bytes).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise SignatureError(f"{what} has a wrong signature") from error


def _base64url(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
