"""The button for another issuer, in a real browser: away from the console's page, and back into it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.support.console_tab import OpenTab
from tests.support.external_issuer import OpenIdProvider, serving_openid_provider
from tests.support.platform import PlatformProcess, platform_process

pytestmark = [pytest.mark.part("chromium"), pytest.mark.timeout(600)]


@pytest.fixture
async def provider() -> AsyncIterator[OpenIdProvider]:
    async with serving_openid_provider() as serving:
        yield serving


@pytest.fixture
async def running(provider: OpenIdProvider, tmp_path: Path) -> AsyncIterator[PlatformProcess]:
    """Run a platform of the test's own, that trusts its provider."""
    told = json.dumps([provider.setting(title="Example Staff")])
    with platform_process(tmp_path / "data", {"TRADEFLOW_GATEWAY_EXTERNAL_ISSUERS": told}) as process:
        yield process


async def test_the_button_leads_to_the_issuer_and_back_into_a_session_that_outlives_a_reload(
    open_tab: OpenTab, provider: OpenIdProvider
) -> None:
    tab = await open_tab()
    await tab.open("/sign-in")
    await tab.page.get_by_role("link", name="Sign in with Example Staff").click()
    await tab.shows("Shop")
    await tab.page.reload()
    await tab.shows("Shop")
    await tab.assert_nothing_grave_for_anybody()

    other = await open_tab()
    provider.answers_nonce = False
    await other.open("/sign-in")
    await other.assert_nothing_grave_for_anybody()
    await other.page.get_by_role("link", name="Sign in with Example Staff").click()

    await expect(other.page.get_by_text("begun in another browser")).to_be_visible()
    await expect(other.page.get_by_role("button", name="Sign in")).to_be_visible()
