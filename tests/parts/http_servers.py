"""What the parts that speak HTTP have in common."""

import httpx

ASK_SECONDS_MAX = 3.0
"""A server that accepts and doesn't answer is asked again after this."""

SMALL_JVM = (
    "-Xms64m",
    "-Xmx384m",
    # Starts sooner and takes less memory, at a speed that tests never need.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
)
"""For servers that only tests talk to."""


def ask_http(url: str) -> httpx.Response:
    """Return the answer of a server of this machine, past any proxy.

    Raises:
        OSError: Nothing answers yet, or it says that it isn't ready.
    """
    try:
        with httpx.Client(trust_env=False, timeout=ASK_SECONDS_MAX) as client:
            return client.get(url).raise_for_status()
    except httpx.HTTPError as error:
        raise OSError(f"{url} doesn't answer: {error}") from error
