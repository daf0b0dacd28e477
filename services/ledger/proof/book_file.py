"""A whole book as a file: JSON Lines, one line a thing, in one order, so that equal books make equal files.

    header    which book, and where it stands
    record    each record with its postings, by sequence; the key that it answers is part of it
    answer    each answer without a record (refusals), by service and key
    numbers   each account's event numbers, by account: clients' cursors stay good
    events    packs that were not published yet, by sequence
    key       the public keys; head: the signed heads, by tree size
    end       how many lines there were, and the hash of all of them

Integers are as in the database: amounts in minor units, instants in microseconds since 1970. Bytes are base64.
Balances, holds, capture legs, accounts and limits are not in it: the records make them.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import IO, Literal

import msgspec

from services.ledger.proof.heads import PublicJwk, SignedHead
from services.runtime.errors import InvalidArgumentError

FORMAT: Literal["tradeflow-book/1"] = "tradeflow-book/1"
"""The layout that is written now."""

LINE_BYTES_MAX = 32 * 1024 * 1024
"""No line is longer: a pack of events is the longest, with less than 16 MiB before base64."""


class BookFileError(InvalidArgumentError):
    """The file is not a whole, unchanged book; the message says where."""

    default_reason = "book_file_refused"


class HeaderLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="header"):
    """Where the book stands."""

    format: Literal["tradeflow-book/1"]
    book_id: int
    last_sequence: int
    last_hash: bytes
    last_recorded_at: int
    last_account_id: int
    last_event_sequence: int
    published_sequence: int


class PostingFields(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A posting; its leg is its place in the line."""

    account_id: int
    account_sequence: int
    amount: int
    balance_after: int
    salt: bytes
    hash: bytes


class RecordLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="record"):
    """A record, with the columns of its row."""

    sequence: int
    kind: str
    recorded_at: int
    effective_at: int
    record_id: bytes
    hold_id: bytes | None
    key_hash: bytes
    service: str | None
    idempotency_key: str | None
    fingerprint_version: int | None
    fingerprint: bytes | None
    state_after: bytes
    metadata: bytes
    postings_root: bytes
    hash: bytes
    postings: list[PostingFields]


class AnswerLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="answer"):
    """An answer without a record, with the columns of its row."""

    service: str
    idempotency_key: str
    fingerprint_version: int
    fingerprint: bytes
    reason: str
    message: str
    details: str
    hold_id: bytes | None
    recorded_at: int
    hash: bytes


class NumbersLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="numbers"):
    """An account's newest event: its number in the wallet, and its place among the book's."""

    account_id: int
    event_sequence: int
    event_position: int


class EventsLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="events"):
    """A pack of the outbox."""

    sequence: int
    first_sequence: int
    recorded_at: int
    payload: bytes


class KeyLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="key"):
    """A public key."""

    key: PublicJwk


class HeadLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="head"):
    """A signed head."""

    head: SignedHead


class EndLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="end"):
    """How many lines are before this one, and SHA-256 over their bytes."""

    lines: int
    sha256: bytes


Line = HeaderLine | RecordLine | AnswerLine | NumbersLine | EventsLine | KeyLine | HeadLine | EndLine

_ORDER: dict[type, int] = {
    kind: place
    for place, kind in enumerate(
        (HeaderLine, RecordLine, AnswerLine, NumbersLine, EventsLine, KeyLine, HeadLine, EndLine)
    )
}

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


class LineWriter:
    """Writes lines, and the end."""

    def __init__(self, file: IO[bytes]) -> None:
        """Write to a file."""
        self._file = file
        self._hash = sha256()
        self._lines = 0

    def write(self, line: Line) -> None:
        """Write one line."""
        content = _ENCODER.encode(line) + b"\n"
        self._file.write(content)
        self._hash.update(content)
        self._lines += 1

    def end(self) -> None:
        """Write the last line."""
        self.write(EndLine(lines=self._lines, sha256=self._hash.digest()))


def read_lines(file: IO[bytes]) -> Iterator[Line]:
    """Read all lines but the end, one at a time; what comes before the end is believed only once the end was reached.

    Raises:
        BookFileError: A line can't be read or isn't where it belongs, or the file was cut or changed.
    """
    digest, lines, place = sha256(), 0, -1
    while content := file.readline(LINE_BYTES_MAX):
        line = _line_of(content, lines + 1)
        following = _ORDER[type(line)]
        if following < place or (lines == 0) != isinstance(line, HeaderLine):
            raise BookFileError(f"Line {lines + 1} is out of order.")
        if isinstance(line, EndLine):
            if (line.lines, line.sha256) != (lines, digest.digest()):
                raise BookFileError("The file was changed: its lines don't have the hash that its end names.")
            if file.read(1):
                raise BookFileError("Something follows the end of the file.")
            return
        digest.update(content)
        lines, place = lines + 1, following
        yield line
    raise BookFileError("The file was cut: it has no end.")


def _line_of(content: bytes, number: int) -> Line:
    try:
        return _DECODER.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BookFileError(f"Line {number} can't be read: {error}.") from error
