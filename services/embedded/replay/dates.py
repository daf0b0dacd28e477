"""When a row happened: the dates of a file, in the form that was named or in those that are known."""

import re
from contextlib import suppress
from datetime import UTC, datetime

from services.runtime.errors import InvalidArgumentError

DATE_FORMATS = ("%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y")
"""Tried after ISO 8601: the original Online Retail file writes 12/1/2010 8:26."""

EXAMPLE_FORMAT = "%d/%m/%Y %H:%M"
"""What who named another one is shown; it isn't among those that are tried anyway."""

_SAMPLE = datetime(2010, 11, 23, 20, 47, 59, tzinfo=UTC)
"""Its day, month and two-digit year can't be taken for each other."""


def check_date_format(date_format: str) -> None:
    """Make sure that a format reads dates: else each row of a file would be rejected for it.

    Raises:
        InvalidArgumentError: `date_format_malformed`: strptime doesn't take it, or it leaves out a part of the date.
    """
    try:
        read = datetime.strptime(_SAMPLE.strftime(date_format), date_format)  # noqa: DTZ007 - only the date is compared
    except (ValueError, re.error) as error:
        raise _malformed(date_format, f"is no format for strptime ({error})") from error
    if read.date() != _SAMPLE.date():
        raise _malformed(date_format, "doesn't name day, month and year")


def _malformed(date_format: str, why: str) -> InvalidArgumentError:
    message = (
        f"{date_format!r} {why}; write it as strptime has it, such as {EXAMPLE_FORMAT!r} or '%Y%m%d', "
        "or leave it out for ISO 8601 and month/day/year"
    )
    return InvalidArgumentError(message, reason="date_format_malformed")


def instant_of(text: str, date_format: str | None) -> datetime | None:
    """Read a date; None where it is in no known form. One without a zone is taken for UTC: dates only are compared."""
    for form in (date_format,) if date_format else (None, *DATE_FORMATS):
        # An overflow is a time that UTC would have before the first year, or behind the last.
        with suppress(ValueError, OverflowError):
            instant = datetime.strptime(text, form) if form else datetime.fromisoformat(text)  # noqa: DTZ007  see above
            return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    return None
