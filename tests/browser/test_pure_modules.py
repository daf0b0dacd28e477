"""The console's modules that only compute, asked in the browser that runs them."""

import asyncio
import itertools
import json
from typing import Any

import pytest
from playwright.async_api import Route

from services.money import exponents
from tests.support.console_tab import ConsoleTab, OpenTab

pytestmark = [pytest.mark.part("chromium"), pytest.mark.timeout(300)]


@pytest.fixture
async def tab(open_tab: OpenTab) -> ConsoleTab:
    opened: ConsoleTab = await open_tab()
    await opened.open("/sign-in")
    await opened.shows("Every cent has a journal entry.")
    return opened


async def ask(tab: ConsoleTab, module: str, code: str) -> Any:
    """Run code with a module's exports in `it`."""
    base = await tab.page.evaluate("document.querySelector('script[type=module]').src")
    address = str(base).replace("main.js", f"{module}.js")
    return await tab.page.evaluate(
        f"async (address) => {{ const it = await import(address); return {code}; }}", address
    )


async def test_amounts_are_written_from_whole_numbers(tab: ConsoleTab) -> None:
    written = await ask(
        tab,
        "money",
        """[
          it.formatMoney({amount_minor: 1050, currency: "EUR"}), it.formatMoney({amount_minor: -5, currency: "USD"}),
          it.formatMoney({amount_minor: 1050, currency: "JPY"}), it.formatMoney({amount_minor: 7, currency: "POINTS"}),
          it.formatMoney({amount_minor: 9007199254740991, currency: "EUR"}),
          it.formatMoney({amount_minor: 300, currency: "EUR"}, {sign: true}), it.decimal(-7, 3),
          it.formatMoney({amount_minor: 100000, currency: "HUF"}),
          it.formatMoney({amount_minor: 1500, currency: "IQD"}), it.formatMoney({amount_minor: -1500, currency: "KWD"}),
        ]""",
    )

    assert written == [
        "€10.50",
        "-US$0.05",
        "JP¥1,050",
        "7 POINTS",
        "€90,071,992,547,409.91",
        "+€3.00",
        "-0.007",
        "HUF\xa01,000.00",
        "IQD\xa01.500",
        "-KWD\xa01.500",
    ]


async def test_each_currency_has_the_digits_that_the_ledger_gives_it(tab: ConsoleTab) -> None:
    codes = sorted(exponents())

    digits = await ask(tab, "money", f"{codes}.map((code) => it.fractionDigits(code))")
    read = await ask(tab, "money", "['HUF', 'IQD', 'CLF'].map((code) => it.parseMoney('1000', code).amount_minor)")

    assert dict(zip(codes, digits, strict=True)) == exponents()
    assert read == [100_000, 1_000_000, 10_000_000]


async def test_amounts_are_read_as_people_write_them_or_not_at_all(tab: ConsoleTab) -> None:
    texts = ["12.50", "12,5", "1 000", "0.07", "0", "-1", "1.005", "1e3", "", "90071992547409.92", "12.5.1"]

    read = await ask(tab, "money", f"{texts}.map((text) => it.parseMoney(text, 'EUR')?.amount_minor ?? null)")
    yen = await ask(tab, "money", "['1250', '12.5'].map((text) => it.parseMoney(text, 'JPY')?.amount_minor ?? null)")

    written = ["1,234", "1.234", "1,23", "1234", "1 234,567"]
    dinars = await ask(tab, "money", f"{written}.map((text) => it.parseMoney(text, 'BHD')?.amount_minor ?? null)")

    assert read == [1250, 1250, 100_000, 7, None, None, None, None, None, None, None]
    assert yen == [1250, None]
    assert dinars == [None, 1_234, 1_230, 1_234_000, 1_234_567], "a comma before three digits is a thousand to many"


async def test_pauses_grow_differ_and_end(tab: ConsoleTab) -> None:
    pauses = await ask(tab, "backoff", "[1, 2, 3, 20].flatMap((n) => [it.pauseMs(n, () => 0), it.pauseMs(n, () => 1)])")

    assert pauses == [200, 400, 400, 800, 800, 1600, 7500, 15_000]


async def test_an_intent_keeps_its_key_until_it_is_settled_whatever_else_is_wanted(tab: ConsoleTab) -> None:
    first, other, again, settled, other_again = await ask(
        tab,
        "intents",
        """(() => {
          const keys = [it.keyOf("pay", {a: 1}), it.keyOf("pay", {a: 2}), it.keyOf("pay", {a: 1})];
          it.settle("pay", {a: 1});
          return [...keys, it.keyOf("pay", {a: 1}), it.keyOf("pay", {a: 2})];
        })()""",
    )

    assert first == again
    assert other == other_again
    assert len({first, other, settled}) == 3


async def test_of_many_intents_of_one_name_the_oldest_is_forgotten(tab: ConsoleTab) -> None:
    first, second, second_again, first_again = await ask(
        tab,
        "intents",
        """(() => {
          const pay = (a) => it.keyOf("pay", {a});
          const keys = [pay(1), pay(2)];
          for (let a = 3; a <= 33; a++) pay(a);
          return [...keys, pay(2), pay(1)];
        })()""",
    )

    assert second_again == second
    assert first_again != first


async def test_an_intent_of_the_page_before_an_upgrade_keeps_its_key(tab: ConsoleTab) -> None:
    kept, other, settled = await ask(
        tab,
        "intents",
        """(() => {
          sessionStorage.setItem("tradeflow-intent:pay", JSON.stringify({wanted: JSON.stringify({a: 1}), key: "old"}));
          const keys = [it.keyOf("pay", {a: 1}), it.keyOf("pay", {a: 2})];
          it.settle("pay", {a: 1});
          return [...keys, it.keyOf("pay", {a: 1})];
        })()""",
    )

    assert kept == "old"
    assert "old" not in {other, settled}


async def test_who_signs_out_leaves_no_intent_behind(tab: ConsoleTab) -> None:
    left = await ask(
        tab,
        "intents",
        """(() => {
          for (const a of [1, 2]) it.keyOf("pay", {a});
          it.settle("pay", {a: 1});
          const before = Object.keys(sessionStorage).length;
          it.forgetIntents();
          return [before, Object.keys(sessionStorage).length];
        })()""",
    )

    assert left == [1, 0]


async def test_rates_and_quantiles_are_those_of_two_looks(tab: ConsoleTab) -> None:
    rates = await ask(tab, "series", "[it.rate(10, 30, 2), it.rate(30, 4, 2), it.rate(1, 1, 0)]")
    quantiles = await ask(
        tab,
        "series",
        """(() => {
          const before = {count: 10, failed: 0, buckets: [[0.1, 10], [0.5, 10], [1, 10]]};
          const after = {count: 20, failed: 1, buckets: [[0.1, 10], [0.5, 18], [1, 19]]};
          const grown = it.since(before, after);
          return [it.quantile(grown, 0.5), it.quantile(grown, 0.85), it.quantile(grown, 0.99),
            it.quantile(it.since(after, after), 0.5), it.since(after, before).count,
            it.niceCeiling(0), it.niceCeiling(31)];
        })()""",
    )

    assert rates == [10, 2, 0]
    assert quantiles == [0.35, 0.75, 1, None, 10, 1, 50]


MOVES = [
    {"state": "PENDING", "at": "2026-01-01T10:00:00.000100Z", "journal_sequence": None, "reason": ""},
    {"state": "RESERVED", "at": "2026-01-01T10:00:00.020300Z", "journal_sequence": 4, "reason": ""},
    {"state": "CONFIRMED", "at": "2026-01-01T10:00:00.020300Z", "journal_sequence": 4, "reason": ""},
    {"state": "SETTLED", "at": "2026-01-01T10:00:00.090000Z", "journal_sequence": 7, "reason": ""},
]


@pytest.mark.parametrize(
    ("state", "moves", "captured_at", "expected"),
    [
        ("PENDING", MOVES[:1], None, ["done"] * 2 + ["current"] + ["waiting"] * 6),
        ("RESERVED", MOVES[:2], None, ["done"] * 3 + ["current"] + ["waiting"] * 5),
        ("CONFIRMED", MOVES[:3], None, ["done"] * 4 + ["current"] + ["waiting"] * 4),
        ("SETTLED", MOVES, "2026-01-01T10:00:00.060000Z", ["done"] * 9),
        ("REJECTED", MOVES[:1], None, ["done"] * 2 + ["failed"] + ["skipped"] * 6),
        ("CANCELLED", MOVES[:2], None, ["done"] * 3 + ["skipped"] * 6),
        ("SETTLEMENT_FAILED", MOVES[:3], None, ["done"] * 5 + ["failed"] + ["skipped"] * 3),
    ],
)
async def test_the_way_of_an_order_is_what_its_history_says(
    tab: ConsoleTab, state: str, moves: list[dict[str, Any]], captured_at: str | None, expected: list[str]
) -> None:
    known = {"moves": moves, "capturedAt": captured_at, "seenAtMs": None, "sentAtMs": None, "rejection": "no money"}

    base = str(await tab.page.evaluate("document.querySelector('script[type=module]').src"))
    steps = await tab.page.evaluate(
        "async ([address, order, known]) => (await import(address)).stepsOf(order, known)",
        [base.replace("main.js", "way.js"), {"state": state, "capture": "automatic"}, known],
    )

    assert [step["state"] for step in steps] == expected
    assert steps[1]["atMs"] == 1767261600000.1


async def test_what_was_never_answered_keeps_its_key_past_the_doors_refusals(tab: ConsoleTab) -> None:
    answers = iter([504, 429, 429, 429, 401, 401, 200, 200])
    keys: list[str] = []

    async def answer(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        await route.fulfill(status=next(answers), json={})

    await tab.page.route("**/test/payments", answer)
    statuses = await ask(
        tab,
        "api",
        """(async () => {
          const press = () => it.doOnce("pay", "/test/payments", {a: 1}).then(() => 200, (error) => error.status);
          return [await press(), await press(), await press(), await press()];
        })()""",
    )

    assert statuses == [429, 401, 200, 200]
    assert len(set(keys[:7])) == 1
    assert keys[7] not in keys[:7]


async def test_what_was_never_answered_happens_once_though_something_else_was_done_meanwhile(tab: ConsoleTab) -> None:
    done: dict[str, str] = {}

    async def lose_alices_first_answers(route: Route) -> None:
        body = route.request.post_data_json or {}
        done[route.request.headers["idempotency-key"]] = body["email"]
        is_lost = body["email"] == "alice" and "bob" not in done.values()
        await route.fulfill(status=504 if is_lost else 200, json={})

    await tab.page.route("**/test/deposits", lose_alices_first_answers)
    statuses = await ask(
        tab,
        "api",
        """(async () => {
          const wanted = (email) => it.doOnce("deposit", "/test/deposits", {email});
          const deposit = (email) => wanted(email).then(() => 200, (error) => error.status);
          return [await deposit("alice"), await deposit("bob"), await deposit("alice"), await deposit("alice")];
        })()""",
    )

    assert statuses == [504, 200, 200, 200]
    assert sorted(done.values()) == ["alice", "alice", "bob"], "lost and repeated: one; the last is another"


async def test_a_balance_that_was_asked_for_before_an_event_does_not_undo_it(tab: ConsoleTab) -> None:
    asked, happened = asyncio.Event(), asyncio.Event()

    async def answer_late(route: Route) -> None:
        asked.set()
        await happened.wait()
        await route.fulfill(json={"items": [balance("EUR", 100), balance("USD", 5)], "next_cursor": None})

    await tab.page.route("**/api/v1/wallet/accounts*", answer_late)
    await ask(tab, "live", "it.live.dispatchEvent(new Event('reload'))")
    await asked.wait()
    event = {"sequence": 1, "kind": "funds_deposited", "fact": {}, "balance": balance("EUR", 200)}
    detail = json.dumps({"event": event, "missed": False, "seenAtMs": 0})
    await ask(tab, "live", f"it.live.dispatchEvent(new CustomEvent('event', {{detail: {detail}}}))")
    happened.set()

    assert await balances_once_known(tab) == {"EUR": 200, "USD": 5}


async def test_balances_are_asked_for_until_there_is_an_answer(tab: ConsoleTab) -> None:
    statuses = itertools.chain([503] * 5, itertools.repeat(200))

    async def answer(route: Route) -> None:
        await route.fulfill(status=next(statuses), json={"items": [balance("EUR", 100)], "next_cursor": None})

    await tab.page.route("**/api/v1/wallet/accounts*", answer)
    await ask(tab, "live", "it.live.dispatchEvent(new Event('reload'))")

    assert await balances_once_known(tab) == {"EUR": 100}


def balance(currency: str, available_minor: int) -> dict[str, Any]:
    return {"currency": currency, "available": {"amount_minor": available_minor, "currency": currency}}


async def balances_once_known(tab: ConsoleTab) -> dict[str, int]:
    told: dict[str, int] = await ask(
        tab,
        "wallet",
        """new Promise((resolve) => {
          const look = () => it.wallet.known && resolve(
            Object.fromEntries([...it.wallet.balances].map(([code, {available}]) => [code, available.amount_minor])));
          it.wallet.addEventListener("change", look);
          look();
        })""",
    )
    return told
