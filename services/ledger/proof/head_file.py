"""A signed head as a file that somebody keeps elsewhere: against it, a journal that was cut can't pass as whole."""

from typing import Literal

import msgspec

from services.ledger.proof.heads import PublicJwk, SignedHead
from services.runtime.errors import InvalidArgumentError

FORMAT: Literal["tradeflow-head/1"] = "tradeflow-head/1"
"""The layout that is written now."""


UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What reading raises where there is something else: no JSON, no text, or brackets in brackets without end."""


class HeadFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A head, and the public keys as they were then."""

    format: Literal["tradeflow-head/1"]
    head: SignedHead
    keys: list[PublicJwk]


class KeyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JWK set, as `GET /api/v1/ledger/keys` gives it."""

    keys: list[PublicJwk]


def encode_head_file(head: SignedHead, keys: list[PublicJwk]) -> bytes:
    """Write the file."""
    content = msgspec.json.encode(HeadFile(format=FORMAT, head=head, keys=keys))
    return msgspec.json.format(content, indent=1) + b"\n"


def decode_head_file(content: bytes) -> HeadFile:
    """Read the file, or what `GET /api/v1/ledger/head` gives, which has no keys.

    Raises:
        InvalidArgumentError: It is neither (`head_file_malformed`).
    """
    try:
        members = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        if "head" in members:
            return msgspec.json.decode(content, type=HeadFile)
        return HeadFile(format=FORMAT, head=msgspec.json.decode(content, type=SignedHead), keys=[])
    except UNREADABLE as error:
        raise InvalidArgumentError(f"This is no signed head: {error}.", reason="head_file_malformed") from error


def decode_key_file(content: bytes) -> list[PublicJwk]:
    """Read public keys: a JWK set, or those in a head's file.

    Raises:
        InvalidArgumentError: There are none in it (`key_file_malformed`).
    """
    try:
        members = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        keys = (decode_head_file(content) if "head" in members else msgspec.json.decode(content, type=KeyFile)).keys
    except UNREADABLE as error:
        raise InvalidArgumentError(f"This is no set of public keys: {error}.", reason="key_file_malformed") from error
    if not keys:
        raise InvalidArgumentError("There are no public keys in it.", reason="key_file_malformed")
    return keys
