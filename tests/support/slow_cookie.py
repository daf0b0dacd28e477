"""A cookie whose quotes Python before 3.12.6 takes seconds to read (CVE-2024-7592)."""

SLOW_COOKIE = 'other="' + "\\\\" * 14_000 + '"'
"""28 KiB, which fits into the headers that a server of ours takes."""

SLOW_COOKIE_SECONDS_MAX = 0.5
"""Of the processor's time, for a call that brings it along."""
