"""Whom a replay calls."""

import pytest

from services.embedded.replay.access import MalformedUrlError, check_url


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "https://shop.example", "https://shop.example/base/", "http://[::1]:80"]
)
def test_an_address_that_can_be_called_passes(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    ["", "shop", "localhost:8080", "ftp://shop.example", "https://", "http://[::1", "http://h:99999", "http://h:0"],
)
def test_an_address_that_cannot_be_called_is_refused_at_once(url: str) -> None:
    with pytest.raises(MalformedUrlError, match="--url is the gateway's address"):
        check_url(url)
