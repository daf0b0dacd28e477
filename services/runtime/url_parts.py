"""The parts of a URL that somebody set, in which a password may stand."""

from urllib.parse import SplitResult, urlsplit

from services.runtime.errors import InvalidArgumentError


def url_parts(url: str, purpose: str) -> SplitResult:
    """Split a URL; `purpose` names in errors what it is for.

    Raises:
        InvalidArgumentError: `<purpose>_url_malformed`. Neither the URL nor the library's words are repeated: both may
            hold the password.
    """
    try:
        return urlsplit(url)
    except ValueError:
        raise InvalidArgumentError(
            f"the {purpose} URL can't be read: in a user's name and a password, [ is written %5B and ] %5D",
            reason=f"{purpose}_url_malformed",
        ) from None
