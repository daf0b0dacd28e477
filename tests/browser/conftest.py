"""A browser, and the embedded platform that it looks at."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.parts.chromium import PROGRAM
from tests.parts.opening import installed_folder
from tests.support.console_tab import OpenTab, chromium, new_tab
from tests.support.platform import PlatformProcess, platform_process
from tests.support.public_shop import PublicShop, public_shop

SCREENSHOTS = Path(__file__).parents[2] / ".screenshots"
"""Where pictures of all pages are kept for people."""

TRACES = {"TRADEFLOW_GATEWAY_CONSOLE_TRACE_URL": "https://zipkin.example/traces/{trace_id}"}
"""Nobody is there; the page only names it."""


@pytest.fixture(scope="session")
def chromium_installed() -> Path:
    """Install the browser, and name its program."""
    return installed_folder("chromium") / PROGRAM


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    """Run a platform for the tests of a module."""
    with platform_process(tmp_path_factory.mktemp("console") / "data", TRACES) as process:
        yield process


@pytest.fixture
async def shop(running: PlatformProcess) -> AsyncIterator[PublicShop]:
    """Make people and products by the API."""
    async with public_shop(running.gateway_url, running.data) as opened:
        yield opened


@pytest.fixture
async def browser(chromium_installed: Path) -> AsyncIterator[Browser]:
    """Start a browser."""
    async with chromium(chromium_installed) as started:
        yield started


@pytest.fixture
def open_tab(browser: Browser, running: PlatformProcess) -> OpenTab:
    """Open tabs of people who know nothing of each other."""
    return partial(new_tab, browser, running.gateway_url)


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Make the folder of pictures."""
    SCREENSHOTS.mkdir(exist_ok=True)
    return SCREENSHOTS
