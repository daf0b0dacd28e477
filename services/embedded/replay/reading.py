"""Bytes of a CSV file into records, each with its line in the file; nothing is dropped.

One broken line costs one record. A quote that is opened and never closed would make the csv module swallow the rest of
the file, so a record grows over several lines only if that gives it the header's number of fields.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from services.runtime.errors import InvalidArgumentError

ENCODINGS = ("utf-8-sig", "cp1252", "latin-1")
"""Tried in turn. The original Online Retail file is in a western single-byte code; latin-1 reads anything."""

RECORD_LINES_MAX = 50
"""A quoted field with more line breaks is taken for a quote that was never closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of the file."""

    row: int
    """The line where it begins; the header is line 1."""
    fields: tuple[str, ...] | None
    """None: the line's quotes don't match up."""
    text: str
    """As it stands in the file, without its line end."""


class UnreadableFileError(InvalidArgumentError):
    """There is no header, or the bytes aren't text in the encoding that was named."""

    default_reason = "file_unreadable"


def decode(content: bytes, encoding: str | None = None) -> str:
    """Turn a file's bytes into text: by the encoding that was named, or by the first that fits.

    Raises:
        UnreadableFileError: No such encoding, or it doesn't fit.
    """
    candidates = (encoding,) if encoding else ENCODINGS
    for candidate in candidates:
        with suppress(UnicodeError, LookupError):
            return content.decode(candidate)
    raise UnreadableFileError(f"the file isn't text in {' or '.join(candidates)}; --encoding names another")


def read_records(text: str, delimiter: str = ",") -> tuple[tuple[str, ...], Iterator[Record]]:
    """Split a file into its header and its records. Lines that are empty are no records.

    Raises:
        UnreadableFileError: The first line isn't a header.
    """
    lines = list(io.StringIO(text, newline=""))
    header = _fields_of(lines[0], delimiter) if lines else None
    if not header:
        raise UnreadableFileError("the file has no header line")
    return header, _records(lines, delimiter, len(header))


def _records(lines: Sequence[str], delimiter: str, width: int) -> Iterator[Record]:
    at = 1
    while at < len(lines):
        taken, fields = _next_record(lines, at, delimiter, width)
        text = "".join(lines[at : at + taken]).rstrip("\r\n")
        if text:
            yield Record(row=at + 1, fields=fields, text=text)
        at += taken


def _next_record(lines: Sequence[str], at: int, delimiter: str, width: int) -> tuple[int, tuple[str, ...] | None]:
    """Read the record that begins at a line: how many lines it has, and its fields."""
    fields = _fields_of(lines[at], delimiter)
    if fields is not None:
        return 1, fields
    for taken in range(2, min(RECORD_LINES_MAX, len(lines) - at) + 1):
        fields = _fields_of("".join(lines[at : at + taken]), delimiter)
        if fields is not None:
            return (taken, fields) if len(fields) == width else (1, None)
    return 1, None


def _fields_of(text: str, delimiter: str) -> tuple[str, ...] | None:
    """Split one record; None where its quotes don't match up, or it is more than one record."""
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return tuple(records[0]) if len(records) == 1 else () if not records else None
