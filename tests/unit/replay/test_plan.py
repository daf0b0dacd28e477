"""A file is decided on before anything happens, and each of its rows has one place."""

import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.embedded.replay.orders import PlannedOrder
from services.embedded.replay.plan import FileForm, Plan, by_customer, make_plan
from services.embedded.replay.rejects import Reason
from services.runtime.errors import InvalidArgumentError
from tests.support.csv_orders import HEADER, generated_history, online_retail
from tests.support.recomputed_history import recompute

DAY = "2011-01-{:02} 10:00:00"


def a_row(
    invoice: str, stock: str, quantity: object, price: str = "2.55", *, day: int = 1, customer: str = "17850.0"
) -> str:
    return f"{invoice},{stock},LANTERN,{quantity},{DAY.format(day)},{price},{customer},Norway"


def planned(*rows: str, form: FileForm | None = None) -> Plan:
    return make_plan("\n".join((",".join(HEADER), *rows)).encode(), form or FileForm())


def takes_of(plan: Plan) -> list[tuple[int, str, int, int]]:
    return [
        (one.row.row, take.order.invoice, take.line_number, take.quantity)
        for one in plan.returned
        for take in one.takes
    ]


def assert_each_row_has_one_place(plan: Plan) -> None:
    settled = [row.row for order in plan.orders for row in order.rows]
    places = settled + [one.row.row for one in plan.returned] + [reject.row for reject in plan.rejects]
    assert len(places) == len(set(places)) == plan.rows_read


def assert_refunds_never_exceed_purchases(plan: Plan) -> None:
    given_back: Counter[tuple[object, int]] = Counter()
    for refund in plan.refunds:
        for line_number, quantity in refund.quantities.items():
            given_back[refund.order, line_number] += quantity
    for order in plan.orders:
        for line in order.lines:
            assert given_back[order.key, line.line_number] <= line.quantity


def money_by_customer(plan: Plan) -> tuple[dict[str, int], dict[str, int]]:
    paid: dict[str, int] = defaultdict(int)
    back: dict[str, int] = defaultdict(int)
    for order in plan.orders:
        paid[order.key.customer] += order.total.amount_minor
    for one in plan.returned:
        back[one.row.customer] += sum(take.amount_minor for take in one.takes)
    return dict(paid), dict(back)


def assert_plan_is_what_the_file_says(content: bytes) -> None:
    plan, expected = make_plan(content, FileForm()), recompute(content)
    paid, back = money_by_customer(plan)
    assert paid == expected.settled_minor
    assert back == expected.refunded_minor
    assert {reject.row: reject.reason.value for reject in plan.rejects} == expected.rejected
    assert {row.row for order in plan.orders for row in order.rows} == expected.rows_settled
    assert {one.row.row for one in plan.returned} == expected.rows_refunded
    assert len(plan.orders) == len(expected.orders)


@given(seed=st.integers(0, 2**32), steps=st.integers(0, 60))
def test_any_history_comes_to_what_a_second_reading_of_it_says(seed: int, steps: int) -> None:
    content = generated_history(seed=seed, steps=steps)

    plan = make_plan(content, FileForm())

    assert_plan_is_what_the_file_says(content)
    assert_each_row_has_one_place(plan)
    assert_refunds_never_exceed_purchases(plan)


def test_the_real_sample_comes_to_what_a_second_reading_of_it_says() -> None:
    assert_plan_is_what_the_file_says(online_retail())


@given(content=st.binary(max_size=400) | st.text(alphabet='5C,"\n 1.-x', max_size=400).map(str.encode))
def test_no_row_of_a_damaged_file_is_lost(content: bytes) -> None:
    plan = make_plan(",".join(HEADER).encode() + b"\n" + content, FileForm(encoding="latin-1"))

    assert_each_row_has_one_place(plan)


@given(seed=st.integers(0, 2**32))
def test_rows_of_different_times_may_stand_in_any_order(seed: int) -> None:
    rows = [a_row(str(day), "71053", day, day=day) for day in range(1, 9)]
    rows += [a_row(f"C{day}", "71053", -day, day=day + 10) for day in range(1, 9)]
    shuffled = random.Random(seed).sample(rows, len(rows))  # noqa: S311  a test's example

    plan = planned(*shuffled)

    assert sorted(by_invoice(plan)) == sorted(by_invoice(planned(*rows)))


def by_invoice(plan: Plan) -> list[tuple[str, str, int]]:
    return [(one.row.invoice, take.order.invoice, take.quantity) for one in plan.returned for take in one.takes]


def test_a_customer_does_things_in_the_order_of_time_and_orders_before_giving_back() -> None:
    plan = make_plan(generated_history(seed=7, steps=300), FileForm())

    for customer in by_customer(plan):
        placed = set()
        for step in customer.steps:
            if isinstance(step, PlannedOrder):
                placed.add(step.key)
            else:
                assert step.order in placed
        moments = [min(row.moment for row in order.rows) for order in customer.orders]
        assert moments == sorted(moments)


def test_each_step_belongs_to_exactly_one_customer() -> None:
    plan = make_plan(generated_history(seed=8, steps=200), FileForm())

    steps = [step for customer in by_customer(plan) for step in customer.steps]

    assert len(steps) == len(plan.orders) + len(plan.refunds)
    assert {step.key for step in steps} == {order.key for order in plan.orders} | {
        refund.key for refund in plan.refunds
    }


def test_the_newest_purchase_is_given_back_first() -> None:
    plan = planned(
        a_row("1", "71053", 5, day=1), a_row("2", "71053", 5, "3.00", day=2), a_row("C3", "71053", -7, day=3)
    )

    assert takes_of(plan) == [(4, "2", 1, 5), (4, "1", 1, 2)]


def test_a_return_takes_nothing_from_what_was_bought_later() -> None:
    plan = planned(a_row("C1", "71053", -1, day=1), a_row("2", "71053", 5, day=2))

    assert [(reject.row, reject.reason) for reject in plan.rejects] == [(2, Reason.RETURN_WITHOUT_PURCHASE)]


def test_a_return_takes_nothing_from_another_customer_or_another_stock_code() -> None:
    plan = planned(
        a_row("1", "71053", 5, customer="1"),
        a_row("2", "71053B", 5, customer="2"),
        a_row("C3", "71053", -1, customer="2"),
    )

    assert not plan.returned


def test_a_return_of_too_much_goes_as_far_as_the_purchases_do() -> None:
    plan = planned(a_row("1", "71053", 5), a_row("C2", "71053", -9, day=2), a_row("C3", "71053", -1, day=3))

    assert [(one.row.quantity, one.quantity_refunded) for one in plan.returned] == [(9, 5)]
    assert [reject.row for reject in plan.rejects] == [4]


def test_a_return_invoice_makes_one_refund_for_each_order_it_takes_from() -> None:
    plan = planned(
        a_row("1", "71053", 5),
        a_row("1", "POST", 5),
        a_row("C2", "71053", -2, day=2),
        a_row("C2", "POST", -1, day=2),
        a_row("C2", "71053", -1, day=2),
    )

    assert [refund.quantities for refund in plan.refunds] == [{1: 3, 2: 1}]


def test_rows_of_one_product_at_one_price_are_one_line() -> None:
    plan = planned(a_row("1", "71053", 5), a_row("1", "71053", 2, "2.550"), a_row("1", "71053", 1, "3"))

    lines = plan.orders[0].lines
    assert [(line.sku, line.quantity) for line in lines] == [("71053@255:GBP", 7), ("71053@300:GBP", 1)]


def test_an_invoice_of_two_customers_is_an_order_of_each() -> None:
    plan = planned(a_row("1", "71053", 5, customer="1"), a_row("1", "71053", 5, customer="2"))

    assert [order.key.customer for order in plan.orders] == ["1", "2"]


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ([a_row("1", f"S{number}", 1) for number in range(1001)], [1000, 1]),
        ([a_row("1", "S", 1_000_000, "0.01"), a_row("1", "S", 1, "0.01")], [1_000_000, 1]),
        ([a_row("1", "S", 1, "90071992547409.91"), a_row("1", "S2", 3, "0.01")], [1, 3]),
    ],
)
def test_an_invoice_that_is_too_large_for_one_order_goes_on_in_the_next(rows: list[str], parts: list[int]) -> None:
    plan = planned(*rows)

    assert [sum(line.quantity for line in order.lines) for order in plan.orders] == parts
    assert [order.key.part for order in plan.orders] == [1, 2]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("536365,71053,LANTERN", Reason.BROKEN_ROW),
        (a_row("1", "71053", 1) + ",more", Reason.BROKEN_ROW),
        ('1,71053,"OPEN,1,2011-01-01 10:00:00,2.55,17850.0,Norway', Reason.BROKEN_ROW),
        (a_row("", "71053", 1), Reason.BROKEN_ROW),
        (a_row("1", " ", 1), Reason.BROKEN_ROW),
        (a_row("1", "71053", "1.5"), Reason.BROKEN_ROW),
        (a_row("1", "71053", "9" * 50), Reason.BROKEN_ROW),
        (a_row("1", "71053", 1, "1e2"), Reason.BROKEN_ROW),
        (a_row("1", "71053", 1, "NaN"), Reason.BROKEN_ROW),
        (a_row("1", "71053", 1, "£2"), Reason.BROKEN_ROW),
        (a_row("1", "71053", 1, day=32), Reason.BROKEN_ROW),
        ("1,71053,LANTERN,1,0001-01-01T00:00:00+14:00,2.55,17850.0,Norway", Reason.BROKEN_ROW),
        ("1,71053,LANTERN,1,9999-12-31T23:59:59-12:00,2.55,17850.0,Norway", Reason.BROKEN_ROW),
        (a_row("1", "71053", 1, customer=" "), Reason.CUSTOMER_MISSING),
        (a_row("1", "71053", 1, "0.00"), Reason.PRICE_NOT_POSITIVE),
        (a_row("1", "71053", 1, "-2.55"), Reason.PRICE_NOT_POSITIVE),
        (a_row("1", "71053", 1, "0.009"), Reason.PRICE_BELOW_MINOR_UNIT),
        (a_row("1", "71053", 1, "2.555"), Reason.FRACTIONAL_MINOR_UNIT),
        (a_row("1", "71053", 1, "90071992547409.92"), Reason.AMOUNT_TOO_LARGE),
        (a_row("1", "71053", 2, "90071992547409.91"), Reason.AMOUNT_TOO_LARGE),
        (a_row("1", "71053", 0), Reason.QUANTITY_BELOW_ONE),
        (a_row("1", "71053", -1), Reason.QUANTITY_BELOW_ONE),
        (a_row("C1", "71053", 0), Reason.QUANTITY_BELOW_ONE),
        (a_row("1", "71053", 1_000_001), Reason.QUANTITY_TOO_LARGE),
        (a_row("C1", "71053", -1), Reason.RETURN_WITHOUT_PURCHASE),
    ],
)
def test_a_row_that_cannot_be_an_order_is_rejected_with_its_reason(row: str, reason: Reason) -> None:
    plan = planned(a_row("1", "POST", 1), row, a_row("2", "POST", 1))

    assert [(reject.row, reject.reason) for reject in plan.rejects] == [(3, reason)]
    assert [line.row for order in plan.orders for line in order.rows] == [2, 4]


def test_a_whole_number_written_with_a_point_is_whole() -> None:
    assert planned(a_row("1", "71053", "6.0")).orders[0].lines[0].quantity == 6


@pytest.mark.parametrize(("currency", "minor"), [("GBP", 250), ("JPY", None), ("BHD", 2500)])
def test_a_price_is_exact_in_the_minor_units_of_its_currency(currency: str, minor: int | None) -> None:
    plan = planned(a_row("1", "71053", 1, "2.50"), form=FileForm(currency=currency))

    assert [order.total.amount_minor for order in plan.orders] == ([minor] if minor else [])
    assert [reject.reason for reject in plan.rejects] == ([] if minor else [Reason.FRACTIONAL_MINOR_UNIT])


def test_an_unknown_currency_is_refused_before_anything_is_read() -> None:
    with pytest.raises(InvalidArgumentError, match="XXQ"):
        planned(form=FileForm(currency="XXQ"))


def test_values_that_stand_for_no_customer_can_be_named() -> None:
    plan = planned(a_row("1", "71053", 1, customer="0.0"), form=FileForm(customers_missing=frozenset({"0.0"})))

    assert [reject.reason for reject in plan.rejects] == [Reason.CUSTOMER_MISSING]


def test_the_same_file_read_the_same_way_has_the_same_run() -> None:
    content = generated_history(seed=3, steps=5)

    assert make_plan(content, FileForm()) == make_plan(content, FileForm())
    assert make_plan(content, FileForm()).run_id != make_plan(content + b"\n\n", FileForm()).run_id
    assert make_plan(content, FileForm()).run_id != make_plan(content, FileForm(currency="EUR")).run_id
