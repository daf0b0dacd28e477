"""What a caller wants to find again with a record: names and values, and a note, as bytes that the chain covers.

The bytes are one JSON object with sorted names and no spaces, `{"metadata":{…},"note":"…"}`, where what is empty is
left out; nothing at all is no bytes.
"""

import json
from collections.abc import Mapping

from services.runtime.errors import InvalidArgumentError

METADATA_BYTES_MAX = 4096
"""The longest encoded metadata, note included: the width of the database's column."""

NOTE_BYTES_MAX = 1024
"""The longest note, in bytes of UTF-8."""


def encode_metadata(metadata: Mapping[str, str], note: str = "") -> bytes:
    """Write metadata and note.

    Raises:
        InvalidArgumentError: `metadata_malformed`: an empty name, text that UTF-8 can't write, or too many bytes.
    """
    if not metadata and not note:
        return b""
    if "" in metadata:
        raise InvalidArgumentError("Names of metadata aren't empty.", reason="metadata_malformed")
    content: dict[str, object] = {"metadata": dict(metadata)} if metadata else {}
    if note:
        content["note"] = note
    try:
        encoded = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError("Metadata is text that UTF-8 can write.", reason="metadata_malformed") from None
    if len(encoded) > METADATA_BYTES_MAX:
        raise InvalidArgumentError(
            f"Metadata and note have at most {METADATA_BYTES_MAX} bytes as JSON.", reason="metadata_malformed"
        )
    return encoded


def decode_metadata(content: bytes) -> tuple[dict[str, str], str]:
    """Read what `encode_metadata` wrote: the metadata and the note."""
    decoded = json.loads(content) if content else {}
    return decoded.get("metadata", {}), decoded.get("note", "")
