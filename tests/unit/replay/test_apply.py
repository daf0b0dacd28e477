"""A plan is carried out once, whatever happens on the way and however often it is repeated."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from services.embedded.client import TradeFlowClient
from services.embedded.replay.apply import Access, Accounts
from services.embedded.replay.keys import email_of
from services.embedded.replay.plan import FileForm
from services.embedded.replay.replaying import carry_out, read_plan
from services.embedded.replay.report import Report, as_data
from services.embedded.replay.shop import Credentials, ReplayFailedError
from services.runtime.errors import UnavailableError
from tests.support.csv_orders import HEADER, generated_history
from tests.support.fake_public_api import FakePublicApi, Faults, KilledError
from tests.support.recomputed_history import recompute

ACCOUNTS = Accounts(
    retailer=Credentials(email="shop@x.example", password="shop"),
    treasury=Credentials(email="bank@x.example", password="bank"),
)
WHAT_TIME_CHANGES = {"elapsed_seconds", "seconds_by_phase", "orders_per_second", "orders_remembered"}
SHORT_HISTORY = generated_history(seed=12, steps=12, customers=2)


class SilentMeter:
    """Shows nothing."""

    def begin(self, phase: str, total: int) -> None:
        """Show nothing."""

    def advance(self, steps: int = 1) -> None:
        """Show nothing."""


def a_platform(faults: Faults | None = None, *, reads_to_settle: int = 1) -> FakePublicApi:
    api = FakePublicApi(faults=faults or Faults(), reads_to_settle=reads_to_settle)
    api.add_user(ACCOUNTS.retailer.email, ACCOUNTS.retailer.password, "merchant")
    api.add_user(ACCOUNTS.treasury.email, ACCOUNTS.treasury.password, "treasury")
    return api


async def replayed(
    api: FakePublicApi, data: Path, content: bytes, *, concurrency: int = 4, run_id: str | None = None
) -> Report:
    @asynccontextmanager
    async def open_platform(_: bytes) -> AsyncIterator[Access]:
        async with api.http() as http:
            yield Access(visitor=TradeFlowClient("http://fake", http=http), accounts=ACCOUNTS)

    reading = read_plan(written(data, content), FileForm(), run_id=run_id)
    return await carry_out(reading, data, open_platform=open_platform, concurrency=concurrency, meter=SilentMeter())


def written(data: Path, content: bytes) -> Path:
    data.mkdir(exist_ok=True)
    file = data / "history.csv"
    file.write_bytes(content)
    return file


def totals(report: Report) -> dict[str, Any]:
    told = as_data(report, Path("rejects.csv"))
    assert json.dumps(told)
    return {name: figure for name, figure in told.items() if name not in WHAT_TIME_CHANGES}


def assert_money_is_what_the_file_says(api: FakePublicApi, content: bytes, report: Report) -> None:
    expected = recompute(content)
    for customer, settled_minor in expected.settled_minor.items():
        user_id = api.user_of(email_of(customer))
        assert api.deposited[user_id] == settled_minor
        assert api.balances[user_id] == expected.refunded_minor.get(customer, 0)
    assert report.outcome.money_in.amount_minor == sum(expected.settled_minor.values())
    assert report.outcome.money_out.amount_minor == sum(expected.refunded_minor.values())
    assert report.outcome.rows_settled == expected.rows_settled
    assert report.outcome.rows_refunded == expected.rows_refunded
    assert {reject.row: reject.reason.value for reject in report.outcome.rejects} == expected.rejected
    assert {part.row: part.quantity_unmatched for part in report.outcome.part_refunds} == expected.unmatched
    assert len(api.orders) == len(expected.orders) == report.outcome.orders_settled


@pytest.mark.parametrize("concurrency", [1, 3, 64])
async def test_a_history_moves_the_money_that_it_says_whatever_the_concurrency(
    tmp_path: Path, concurrency: int
) -> None:
    api, content = a_platform(), generated_history(seed=5, steps=80)

    report = await replayed(api, tmp_path, content, concurrency=concurrency)

    assert_money_is_what_the_file_says(api, content, report)


async def test_a_second_replay_moves_nothing_and_signs_no_customer_in(tmp_path: Path) -> None:
    api = a_platform()
    first = await replayed(api, tmp_path, SHORT_HISTORY)
    api.logins.clear()

    second = await replayed(api, tmp_path, SHORT_HISTORY)

    assert totals(second) == totals(first)
    assert_money_is_what_the_file_says(api, SHORT_HISTORY, second)
    assert api.logins == [ACCOUNTS.retailer.email, ACCOUNTS.treasury.email]
    assert second.applied.orders_remembered == second.outcome.orders_settled


async def test_losing_the_memory_doubles_nothing(tmp_path: Path) -> None:
    api = a_platform()
    first = await replayed(api, tmp_path, SHORT_HISTORY)
    for remembered in (tmp_path / "replay").glob("*.jsonl"):
        remembered.unlink()

    second = await replayed(api, tmp_path, SHORT_HISTORY)

    assert totals(second) == totals(first)
    assert_money_is_what_the_file_says(api, SHORT_HISTORY, second)


async def test_a_memory_of_another_platform_is_not_believed(tmp_path: Path) -> None:
    await replayed(a_platform(), tmp_path, SHORT_HISTORY)
    api = a_platform()

    report = await replayed(api, tmp_path, SHORT_HISTORY)

    assert_money_is_what_the_file_says(api, SHORT_HISTORY, report)


async def test_another_run_id_makes_it_happen_once_more(tmp_path: Path) -> None:
    api = a_platform()
    first = await replayed(api, tmp_path, SHORT_HISTORY)

    await replayed(api, tmp_path, SHORT_HISTORY, run_id="again")

    assert len(api.orders) == 2 * first.outcome.orders_settled


async def calls_of_a_quiet_run(folder: Path) -> int:
    api = a_platform()
    await replayed(api, folder, SHORT_HISTORY)
    return api.calls


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_run_that_is_killed_at_any_call_and_repeated_has_the_same_totals(tmp_path: Path, moment: str) -> None:
    quiet = await replayed(a_platform(), tmp_path / "quiet", SHORT_HISTORY)
    calls = await calls_of_a_quiet_run(tmp_path / "counted")

    assert calls > 40
    for call in range(1, calls + 1):
        api = a_platform(Faults(killed_before={call}) if moment == "before" else Faults(killed_after={call}))
        folder = tmp_path / str(call)
        with suppress(KilledError):
            await replayed(api, folder, SHORT_HISTORY)
        api.faults = Faults()
        again = await replayed(api, folder, SHORT_HISTORY)

        assert_money_is_what_the_file_says(api, SHORT_HISTORY, again)
        assert {**totals(again), "file": ""} == {**totals(quiet), "file": ""}


async def test_answers_that_are_lost_are_asked_for_again(tmp_path: Path) -> None:
    api = a_platform(Faults(lost_answers=set(range(3, 200, 3))))

    report = await replayed(api, tmp_path, SHORT_HISTORY)

    assert_money_is_what_the_file_says(api, SHORT_HISTORY, report)


@pytest.mark.parametrize(
    ("status", "reason"), [(503, "unavailable"), (429, "rate_limited"), (409, "request_in_flight")]
)
async def test_a_platform_that_asks_for_patience_gets_it(tmp_path: Path, status: int, reason: str) -> None:
    api = a_platform(Faults(refusals=dict.fromkeys(range(2, 200, 4), (status, reason))))

    report = await replayed(api, tmp_path, SHORT_HISTORY)

    assert_money_is_what_the_file_says(api, SHORT_HISTORY, report)


async def test_a_platform_that_stays_away_ends_the_run_and_the_next_goes_on(tmp_path: Path) -> None:
    api = a_platform(Faults(refusals=dict.fromkeys(range(35, 1000), (503, "unavailable"))))
    with pytest.raises(UnavailableError):
        await replayed(api, tmp_path, SHORT_HISTORY)
    api.faults = Faults()

    report = await replayed(api, tmp_path, SHORT_HISTORY)

    assert_money_is_what_the_file_says(api, SHORT_HISTORY, report)
    assert report.applied.orders_remembered > 0


async def test_a_return_waits_until_its_order_is_settled(tmp_path: Path) -> None:
    api = a_platform(reads_to_settle=4)

    report = await replayed(api, tmp_path, SHORT_HISTORY)

    assert_money_is_what_the_file_says(api, SHORT_HISTORY, report)
    assert api.states() <= {"SETTLED", "PARTIALLY_REFUNDED", "REFUNDED"}


def a_file(*rows: str) -> bytes:
    return "\n".join((",".join(HEADER), *rows)).encode()


def a_row(invoice: str, quantity: int, day: int) -> str:
    return f"{invoice},71053,LANTERN,{quantity},2011-01-{day:02} 10:00:00,2.55,17850,Norway"


async def test_an_order_that_expired_while_nobody_was_there_is_placed_anew(tmp_path: Path) -> None:
    api, content = a_platform(), a_file(a_row("1", 5, 1))
    await killed_after_placing(api, tmp_path, content)
    for order in api.orders.values():
        order["state"] = "EXPIRED"
        api.balances[order["buyer_id"]] += order["total"]["amount_minor"]

    report = await replayed(api, tmp_path, content)

    assert api.states() == {"EXPIRED", "SETTLED"}
    assert report.outcome.money_in.amount_minor == 5 * 255
    assert api.deposited[api.user_of(email_of("17850"))] == 5 * 255


async def killed_after_placing(api: FakePublicApi, data: Path, content: bytes) -> None:
    for call in range(1, 50):
        api.faults = Faults(killed_after={call})
        with suppress(KilledError):
            await replayed(api, data, content)
        if api.orders:
            api.faults = Faults()
            return
        api.calls = 0
    raise AssertionError("no order was ever placed")


@pytest.mark.parametrize(
    "faults", [{"next_orders_refused": ["out_of_stock"]}, {"next_deposits_refused": ["balance_overflow"]}]
)
async def test_what_the_platform_refuses_for_good_goes_to_the_rejects_with_its_returns(
    tmp_path: Path, faults: dict[str, list[str]]
) -> None:
    content = a_file(a_row("1", 5, 1), a_row("C2", -5, 2), a_row("3", 1, 3))
    api = a_platform()
    api.faults.next_orders_refused = faults.get("next_orders_refused", [])
    api.faults.next_deposits_refused = faults.get("next_deposits_refused", [])

    await replayed(api, tmp_path, content)
    report = await replayed(api, tmp_path, content)

    rejected = [(reject.row, reject.reason.value) for reject in report.outcome.rejects]
    assert rejected == [(2, "refused_by_platform"), (3, "refused_by_platform")]
    assert report.outcome.rows_settled == {4}
    assert report.outcome.money_out.amount_minor == 0


@pytest.mark.parametrize("price_minor", [256, 254])
async def test_a_price_that_changes_meanwhile_makes_rejects_of_its_own_kind_and_is_never_paid(
    tmp_path: Path, price_minor: int
) -> None:
    # What comes back of the first order would pay for the second one at any price.
    content = a_file(a_row("1", 5, 1), a_row("C2", -4, 2), a_row("3", 1, 3), a_row("C4", -1, 4))
    api = a_platform(Faults(prices_at_placing={2: ("71053@255:GBP", price_minor)}))

    report = await replayed(api, tmp_path, content)

    rejected = [(reject.row, reject.reason.value) for reject in report.outcome.rejects]
    assert rejected == [(4, "total_changed"), (5, "total_changed")]
    assert report.outcome.rows_settled == {2}
    assert report.outcome.money_in.amount_minor == 5 * 255
    assert len(api.orders) == 1


async def test_a_settlement_that_fails_makes_its_rows_rejects(tmp_path: Path) -> None:
    content = a_file(a_row("1", 5, 1), a_row("C2", -5, 2))
    api = a_platform()
    await killed_after_placing(api, tmp_path, content)
    for order in api.orders.values():
        order.update(state="SETTLEMENT_FAILED", rejection={"reason": "overflow", "message": "too much"})

    report = await replayed(api, tmp_path, content)

    assert [reject.message for reject in report.outcome.rejects] == ["overflow: too much"] * 2
    assert report.outcome.money_in.amount_minor == 0


async def test_a_product_of_somebody_else_ends_the_run_before_any_money_moves(tmp_path: Path) -> None:
    api = a_platform()
    stranger = api.add_user("stranger@x.example", "x", "merchant")
    product = {"sku": "71053@255:GBP", "title": "x", "price": {"amount_minor": 255, "currency": "GBP"}, "stock": None}
    api._offer(stranger, product)

    with pytest.raises(ReplayFailedError, match="71053@255:GBP"):
        await replayed(api, tmp_path, a_file(a_row("1", 5, 1)))

    assert not api.deposited


async def test_an_order_that_somebody_else_refunded_ends_the_run(tmp_path: Path) -> None:
    api, content = a_platform(), a_file(a_row("1", 5, 1))
    await replayed(api, tmp_path, content)
    for order in api.orders.values():
        order["lines"][0]["refunded_quantity"] = 1

    with pytest.raises(ReplayFailedError, match="invoice 1"):
        await replayed(api, tmp_path, content)


async def test_a_lost_secret_is_named_as_the_cause(tmp_path: Path) -> None:
    api = a_platform()
    await replayed(api, tmp_path / "one", SHORT_HISTORY)

    with pytest.raises(ReplayFailedError, match="secret"):
        await replayed(api, tmp_path / "other", SHORT_HISTORY, run_id="again")
