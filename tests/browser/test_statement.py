"""A wallet's statement: some days of it, and the files that people keep."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Locator, expect
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from tests.support.console_tab import ConsoleTab, OpenTab
from tests.support.platform import run_command
from tests.support.public_shop import PublicShop, eur

pytestmark = [pytest.mark.part("chromium"), pytest.mark.timeout(600)]


async def test_a_statement_is_bounded_by_days_and_kept_as_a_table_and_as_a_proof(
    open_tab: OpenTab, shop: PublicShop, tmp_path: Path
) -> None:
    tab, person = await open_tab(), await shop.person(funds_minor=1_000)
    await shop.treasury.deposit(person.email, eur(250))
    await tab.sign_in(person.email)
    await tab.go("/wallet", "Wallet")
    form, entries = tab.page.get_by_role("form", name="Days of the statement"), tab.page.locator(".entry")
    today = await tab.page.evaluate("new Date().toISOString().slice(0, 10)")

    await choose_days(form, "2020-01-02", "2020-01-01")
    await expect(form.get_by_text("The last day is before the first one.")).to_be_visible()
    await choose_days(form, "2020-01-01", "2020-01-31")
    await expect(tab.page.get_by_text("Nothing moved in these days")).to_be_visible()
    await expect(tab.page).to_have_url(re.compile("currency=EUR&from=2020-01-01&until=2020-01-31$"))
    await choose_days(form, "2020-01-01", today)
    await expect(entries).to_have_count(2)
    table = await downloaded(tab, "Download CSV", tmp_path)
    proof = await downloaded(tab, "Download a proof", tmp_path)
    checked = await asyncio.to_thread(run_command, "statement", "check", str(proof), "--json")

    assert table.name == f"statement-EUR-2020-01-01-{today}.csv"
    head, first, second = [line.split(",") for line in table.read_text().splitlines()]
    assert head[:6] == ["recorded_at", "effective_at", "kind", "amount", "balance", "currency"]
    assert [first[2:6], second[2:6]] == [["deposit", "10.00", "10.00", "EUR"], ["deposit", "2.50", "12.50", "EUR"]]
    assert checked.returncode == 0, checked.stdout
    await expect(tab.page.get_by_text(f"{proof.name} has 2 entries.")).to_be_visible()
    await tab.assert_fits_its_width()
    await tab.assert_nothing_grave_for_anybody()
    await tab.assert_all_was_clean()


async def choose_days(form: Locator, first: str, last: str) -> None:
    await form.get_by_label("From", exact=True).fill(first)
    await form.get_by_label("To", exact=True).fill(last)
    await form.get_by_role("button", name="Show").click()


async def downloaded(tab: ConsoleTab, button: str, folder: Path) -> Path:
    """Press until there is a file: the ledger signs where it stands a moment after it commits."""
    for _ in range(20):
        try:
            async with tab.page.expect_download(timeout=3_000) as started:
                await tab.page.get_by_role("button", name=button).click()
        except PlaywrightTimeoutError:
            continue
        file = folder / (await started.value).suggested_filename
        await (await started.value).save_as(file)
        return file
    raise AssertionError(f"{button!r} gives no file")
