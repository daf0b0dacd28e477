"""A tab of a real browser on the console: what tests do there, and what may never happen meanwhile."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from tests.support.public_shop import PASSWORD

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
"""A browser for tests alone: it asks nobody for anything."""

SECONDS_MAX = 60.0
"""How long anything awaited on a page may take: the machine may be busy."""

VIEWPORTS = {"phone": (360, 740), "tablet": (768, 1024), "desktop": (1280, 800)}
"""What people hold in their hands, and what stands before them."""

NARROWEST = 320
"""What WCAG 2.2 asks pages to fit into without scrolling sideways (1.4.10)."""

GRAVE = {"serious", "critical"}
"""What axe may never find."""

Theme = Literal["light", "dark"]

_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
});
"""

expect.set_options(timeout=SECONDS_MAX * 1000)


@asynccontextmanager
async def chromium(program: Path) -> AsyncIterator[Browser]:
    """Start a browser with a profile of its own."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=list(FLAGS), timeout=SECONDS_MAX * 4000, handle_sigint=False
        )
        try:
            yield browser
        finally:
            await browser.close()


@dataclass(slots=True, kw_only=True)
class ConsoleTab:
    """One tab."""

    page: Page
    base_url: str
    errors: list[str] = field(default_factory=list)
    """What the page's scripts threw, and what it logged as an error."""

    async def open(self, path: str = "/") -> None:
        """Load the console at a page of it."""
        await self.page.goto(f"{self.base_url}/#{path}")

    async def go(self, path: str, heading: str | re.Pattern[str]) -> None:
        """Show another page, without loading anything, and wait until all of it is there."""
        await self.page.evaluate("path => { location.hash = path }", path)
        await self.shows(heading)

    async def shows(self, heading: str | re.Pattern[str]) -> None:
        """Wait until a page is there, with what it loads."""
        await expect(self.page.get_by_role("heading", level=1, name=heading)).to_be_visible()
        await expect(self.page.locator("[aria-busy=true]")).to_have_count(0)

    async def register(self, email: str, role: str = "buyer") -> None:
        """Sign up by the form, and be signed in."""
        await self.open("/register")
        await self.page.get_by_label("E-mail address").fill(email)
        await self.page.get_by_label("Password").fill(PASSWORD)
        await self.page.get_by_label("I buy" if role == "buyer" else "I sell").check()
        await self.page.get_by_role("button", name="Make an account").click()
        await self.shows("Shop")

    async def sign_in(self, email: str, password: str = PASSWORD, *, heading: str = "Shop") -> None:
        """Sign in by the form."""
        await self.open("/sign-in")
        await self.page.get_by_label("E-mail address").fill(email)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Sign in").click()
        await self.shows(heading)

    async def agree(self, name: str) -> None:
        """Say yes to the question that stands before the page."""
        await self.page.get_by_role("dialog").get_by_role("button", name=name).click()

    @property
    def purse(self) -> Locator:
        """The balance that every page shows."""
        return self.page.locator(".purse")

    async def keep_picture(self, file: Path) -> None:
        """Take a picture of the whole page, on a screen as high as that: what sticks to its edges stays there."""
        before = self.page.viewport_size
        assert before is not None
        height = int(await self.page.evaluate("document.documentElement.scrollHeight"))
        await self.page.set_viewport_size({"width": before["width"], "height": max(height, before["height"])})
        await self.page.screenshot(path=file)
        await self.page.set_viewport_size(before)

    async def assert_nothing_grave_for_anybody(self) -> None:
        """Look for barriers with axe."""
        found = await Axe().run(self.page)
        grave = [one for one in found.response["violations"] if one["impact"] in GRAVE]
        assert not grave, [(one["id"], [node["html"] for node in one["nodes"]]) for one in grave]

    async def assert_fits_its_width(self) -> None:
        """Look for anything that must be scrolled sideways, on the narrowest phone too."""
        before = self.page.viewport_size
        assert before is not None
        await self._assert_fits()
        if (before["width"], before["height"]) == VIEWPORTS["phone"]:
            await self.page.set_viewport_size({"width": NARROWEST, "height": before["height"]})
            await self._assert_fits()
            await self.page.set_viewport_size(before)

    async def _assert_fits(self) -> None:
        wide = await self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{self.page.url} is {wide} px wider than the screen"

    async def assert_all_was_clean(self) -> None:
        """Look for violations of the content security policy, and for errors of scripts."""
        assert await self.page.evaluate("window.violations") == []
        assert self.errors == []


OpenTab = Callable[..., Awaitable[ConsoleTab]]
"""`await open_tab(theme="dark", viewport="phone")`."""


async def new_tab(
    browser: Browser, base_url: str, *, theme: Theme = "light", viewport: str = "desktop", url: str | None = None
) -> ConsoleTab:
    """Open a tab of somebody who has never been here."""
    width, height = VIEWPORTS[viewport]
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=theme,
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
        has_touch=viewport != "desktop",
        is_mobile=viewport != "desktop",
    )
    context.set_default_timeout(SECONDS_MAX * 1000)
    await context.add_init_script(_WATCH)
    page = await context.new_page()
    tab = ConsoleTab(page=page, base_url=url or base_url)
    page.on("pageerror", lambda error: tab.errors.append(str(error)))
    page.on(
        "console", lambda message: tab.errors.append(message.text) if _is_grave(message.type, message.text) else None
    )
    return tab


def _is_grave(kind: str, text: str) -> bool:
    """Tell whether a message is a mistake of the page: a refusal that the API answers with is none."""
    return kind == "error" and not text.startswith("Failed to load resource") and "WebSocket connection to" not in text
