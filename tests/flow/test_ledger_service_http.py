"""The ledger's HTTP door: a user's own wallet, and the treasury."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.support.ledger import LedgerWorld, ledger_world

TREASURER, USER = uuid4(), uuid4()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LedgerWorld]:
    async with ledger_world(tmp_path) as running:
        yield running


async def deposit(
    world: LedgerWorld, wallet_id: UUID | str, body: Any, *, key: str | None = "key", role: str = "treasury"
) -> httpx.Response:
    headers = world.bearer(TREASURER, role)
    if key is not None:
        headers["Idempotency-Key"] = key
    return await world.http.post(f"/api/v1/wallets/{wallet_id}/deposits", json=body, headers=headers)


def eur(amount_minor: object) -> dict[str, object]:
    return {"amount": {"amount_minor": amount_minor, "currency": "EUR"}}


async def test_a_deposit_is_paid_once_and_its_repetition_says_so(world: LedgerWorld) -> None:
    first = await deposit(world, USER, {**eur(1_050), "note": "cash"})
    second = await deposit(world, USER, {**eur(1_050), "note": "cash"})

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == {
        "wallet_id": str(USER),
        "amount": {"amount_minor": 1_050, "currency": "EUR"},
        "journal_sequence": 3,
        "recorded_at": first.json()["recorded_at"],
        "replayed": False,
        "dry_run": False,
    }
    assert first.json()["recorded_at"].endswith("Z")
    assert "Idempotency-Replayed" not in first.headers
    assert second.json() == {**first.json(), "replayed": True}
    assert second.headers["Idempotency-Replayed"] == "true"
    assert (await world.balance(USER)).posted_minor == 1_050


async def test_a_user_reads_the_own_balance(world: LedgerWorld) -> None:
    await world.deposit(USER, 1_000)
    await world.reserve(USER, 400)

    answer = await world.http.get("/api/v1/wallet/balance", params={"currency": "EUR"}, headers=world.bearer(USER))

    assert answer.status_code == 200
    assert answer.json() == {
        "wallet_id": str(USER),
        "currency": "EUR",
        "posted": {"amount_minor": 1_000, "currency": "EUR"},
        "pending_outgoing": {"amount_minor": 400, "currency": "EUR"},
        "available": {"amount_minor": 600, "currency": "EUR"},
        "overdraft_limit": {"amount_minor": 0, "currency": "EUR"},
        "account_sequence": 1,
    }


async def test_a_user_reads_the_own_statement_page_by_page(world: LedgerWorld) -> None:
    for amount in (1, 2, 3):
        await world.deposit(USER, amount)
    await world.deposit(uuid4(), 9)

    lines: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {"currency": "EUR", "limit": "2", "cursor": cursor}
        answer = await world.http.get("/api/v1/wallet/statement", params=params, headers=world.bearer(USER))
        lines += answer.json()["items"]
        cursor = answer.json()["next_cursor"]

    assert [(line["amount"]["amount_minor"], line["balance"]["amount_minor"]) for line in lines] == [
        (1, 1),
        (2, 3),
        (3, 6),
    ]
    assert lines[0] == {
        "journal_sequence": 3,
        "account_sequence": 1,
        "recorded_at": lines[0]["recorded_at"],
        "effective_at": lines[0]["recorded_at"],
        "kind": "deposit",
        "amount": {"amount_minor": 1, "currency": "EUR"},
        "balance": {"amount_minor": 1, "currency": "EUR"},
        "order_id": None,
    }


async def test_what_is_wrong_with_a_read_is_told_by_its_reason(world: LedgerWorld) -> None:
    cases = {
        "/api/v1/wallet/balance?currency=XXXX": (400, "unknown_asset"),
        "/api/v1/wallet/balance": (400, "validation_failed"),
        "/api/v1/wallet/statement?currency=EUR&cursor=abc": (400, "cursor_malformed"),
        "/api/v1/wallet/statement?currency=EUR&cursor=-1": (400, "cursor_malformed"),
        f"/api/v1/wallet/statement?currency=EUR&cursor={'9' * 19}": (400, "cursor_malformed"),
        "/api/v1/wallet/statement?currency=EUR&limit=0": (400, "validation_failed"),
        "/api/v1/wallet/statement?currency=EUR&limit=201": (400, "validation_failed"),
    }

    answers = {path: await world.http.get(path, headers=world.bearer(USER)) for path in cases}

    assert {path: (answer.status_code, answer.json()["reason"]) for path, answer in answers.items()} == cases


async def test_what_is_wrong_with_a_deposit_is_told_by_its_reason(world: LedgerWorld) -> None:
    await deposit(world, USER, eur(5), key="used")
    answers = {
        "another role": await deposit(world, USER, eur(1), role="buyer"),
        "no key": await deposit(world, USER, eur(1), key=None),
        "used key": await deposit(world, USER, eur(6), key="used"),
        "no wallet": await deposit(world, "nobody", eur(1)),
        "nothing": await deposit(world, USER, eur(0)),
        "a fraction": await deposit(world, USER, eur(1.5)),
        "a text": await deposit(world, USER, eur("1")),
        "too much": await deposit(world, USER, eur(2**53)),
        "unknown field": await deposit(world, USER, {**eur(1), "bonus": 1}),
        "long note": await deposit(world, USER, {**eur(1), "note": "n" * 1_025}),
    }

    assert {name: (answer.status_code, answer.json()["reason"]) for name, answer in answers.items()} == {
        "another role": (403, "role_required"),
        "no key": (400, "idempotency_key_missing"),
        "used key": (422, "idempotency_key_reused"),
        "no wallet": (400, "id_malformed"),
        "nothing": (400, "invalid_amount"),
        "a fraction": (400, "validation_failed"),
        "a text": (400, "validation_failed"),
        "too much": (400, "invalid_amount"),
        "unknown field": (400, "validation_failed"),
        "long note": (400, "note_too_long"),
    }
    assert (await world.balance(USER)).posted_minor == 5


async def test_a_service_has_no_wallet_and_nobody_reads_without_a_token(world: LedgerWorld) -> None:
    path = "/api/v1/wallet/balance?currency=EUR"
    service = {"Authorization": f"Bearer {world.issuer.service_token()}"}

    as_service = await world.http.get(path, headers=service)
    as_nobody = await world.http.get(path)

    assert (as_service.status_code, as_service.json()["reason"]) == (403, "user_token_required")
    assert (as_nobody.status_code, as_nobody.json()["reason"]) == (401, "token_missing")


async def test_the_ledger_says_that_it_is_ready_and_counts(world: LedgerWorld) -> None:
    await world.deposit(USER, 1)

    ready = await world.http.get("/readyz")
    metrics = await world.http.get("/metrics")
    schema = await world.http.get("/schema/openapi.json")

    assert ready.status_code == 200
    assert {"book", "schema"} <= ready.json()["checks"].keys()
    assert set(ready.json()["checks"].values()) == {"ok"}
    assert ready.json()["hints"] == {"broker": "ok", "order-events": "ok"}
    assert 'tradeflow_ledger_commands_total{outcome="accepted"} 1.0' in metrics.text
    assert "tradeflow_outbox_lag_seconds" in metrics.text
    assert 'tradeflow_consumer_healthy{consumer="ledger:order-events"} 1.0' in metrics.text
    assert "/api/v1/wallet/balance" in schema.json()["paths"]


async def post(
    world: LedgerWorld, path: str, body: Any, *, user: UUID = TREASURER, role: str = "treasury", key: str = ""
) -> httpx.Response:
    headers = {**world.bearer(user, role), "Idempotency-Key": key or str(uuid4())}
    return await world.http.post(path, json=body, headers=headers)


async def read(world: LedgerWorld, path: str, *, user: UUID = USER, role: str = "buyer", **params: str) -> Any:
    return (await world.http.get(path, params=params, headers=world.bearer(user, role))).json()


async def test_a_user_withdraws_from_the_own_wallet_once_a_key_and_no_more_than_there_is(world: LedgerWorld) -> None:
    await world.deposit(USER, 1_000)
    path = "/api/v1/wallet/withdrawals"

    first = await post(world, path, eur(400), user=USER, role="buyer", key="once")
    again = await post(world, path, eur(400), user=USER, role="buyer", key="once")
    rehearsed = await post(world, path, {**eur(600), "dry_run": True}, user=USER, role="buyer")
    too_much = await post(world, path, eur(601), user=USER, role="buyer")

    assert (first.status_code, again.status_code, again.json()["replayed"]) == (201, 201, True)
    assert (rehearsed.status_code, rehearsed.json()["dry_run"], rehearsed.json()["journal_sequence"]) == (200, True, 0)
    assert (too_much.status_code, too_much.json()["reason"]) == (422, "insufficient_funds")
    assert (await world.balance(USER)).posted_minor == 600


async def test_the_treasury_transfers_sets_limits_and_reverses(world: LedgerWorld) -> None:
    other = uuid4()
    await world.deposit(USER, 100)
    legs = [{"wallet_id": str(USER), **eur(-30)}, {"wallet_id": str(other), **eur(30)}]

    moved = await post(world, "/api/v1/transfers", {"legs": legs, "metadata": {"why": "test"}})
    limit = {"overdraft_limit": {"amount_minor": 50, "currency": "EUR"}}
    limited = await post(world, f"/api/v1/wallets/{USER}/limits", limit)
    after = await world.balance(USER)
    sequence = moved.json()["journal_sequence"]
    undone = await post(world, f"/api/v1/records/{sequence}/reversals", {})
    again = await post(world, f"/api/v1/records/{sequence}/reversals", {})

    assert (moved.status_code, limited.status_code, undone.status_code) == (201, 201, 201)
    assert (after.posted_minor, after.available_minor) == (70, 120)
    assert (again.status_code, again.json()["reason"]) == (422, "already_reversed")
    assert ((await world.balance(USER)).posted_minor, (await world.balance(other)).posted_minor) == (100, 0)
    record = await read(world, f"/api/v1/records/{sequence}", role="operator")
    assert (record["kind"], record["metadata"]) == ("transfer", {"why": "test"})
    assert record["reversed_by"] == undone.json()["journal_sequence"]
    assert (await world.verify()).problems == ()


async def test_what_is_wrong_with_a_command_is_told_by_the_same_reasons(world: LedgerWorld) -> None:
    wallet = f"/api/v1/wallets/{USER}"
    unbalanced = {"legs": [{"wallet_id": str(USER), **eur(-1)}, {"system_account": "funding", **eur(2)}]}
    answers = {
        "another role": await post(world, "/api/v1/transfers", {"legs": []}, role="buyer"),
        "no legs": await post(world, "/api/v1/transfers", {"legs": []}),
        "unbalanced": await post(world, "/api/v1/transfers", unbalanced),
        "no account": await post(world, "/api/v1/transfers", {"legs": [eur(-1), eur(1)]}),
        "not open": await post(world, f"{wallet}/withdrawals", eur(1)),
        "negative limit": await post(
            world, f"{wallet}/limits", {"overdraft_limit": {"amount_minor": -1, "currency": "EUR"}}
        ),
        "no record": await post(world, "/api/v1/records/999/reversals", {}),
        "no offset": await post(world, f"{wallet}/deposits", {**eur(1), "effective_at": "2026-01-01T00:00:00"}),
    }

    assert {name: (answer.status_code, answer.json()["reason"]) for name, answer in answers.items()} == {
        "another role": (403, "role_required"),
        "no legs": (400, "legs_malformed"),
        "unbalanced": (400, "legs_unbalanced"),
        "no account": (400, "legs_malformed"),
        "not open": (422, "account_not_open"),
        "negative limit": (400, "invalid_amount"),
        "no record": (404, "record_not_found"),
        "no offset": (400, "validation_failed"),
    }


async def test_a_balance_and_a_statement_are_read_at_an_instant_and_filtered(world: LedgerWorld) -> None:
    for amount in (1, 2, 3):
        await world.deposit(USER, amount)
    lines = (await read(world, "/api/v1/wallet/statement", currency="EUR"))["items"]

    then = await read(world, "/api/v1/wallet/balance", currency="EUR", at=lines[1]["recorded_at"])
    newest = await read(world, "/api/v1/wallet/statement", currency="EUR", order="newest_first", limit="1")
    out = await read(world, "/api/v1/wallet/statement", currency="EUR", direction="out")
    misspelled = await read(world, "/api/v1/wallet/statement", currency="EUR", kind="withdrawal")
    naive = await read(world, "/api/v1/wallet/balance", currency="EUR", at="2026-01-01T00:00:00")

    assert (then["posted"]["amount_minor"], then["account_sequence"]) == (3, 2)
    assert [line["amount"]["amount_minor"] for line in newest["items"]] == [3]
    assert newest["next_cursor"]
    assert out == {"items": [], "next_cursor": None}
    assert (misspelled["reason"], misspelled["details"]) == ("filter_malformed", {"field": "kind"})
    assert naive["reason"] == "instant_malformed"


async def test_the_book_is_open_to_operators_and_closed_to_users(world: LedgerWorld) -> None:
    await world.deposit(USER, 5)
    hold_id = await world.reserve(USER, 1)
    paths = ["/api/v1/accounts", "/api/v1/records", f"/api/v1/holds/{hold_id}"]
    paths += [f"/api/v1/wallets/{USER}/{read}?currency=EUR" for read in ("balance", "statement")]

    for path in paths:
        as_operator = await world.http.get(path, headers=world.bearer(TREASURER, "operator"))
        as_user = await world.http.get(path, headers=world.bearer(USER))
        assert (path, as_operator.status_code, as_user.status_code) == (path, 200, 403)
    chart = await read(world, "/api/v1/accounts", role="operator", type="wallet")
    assert [account["code"] for account in chart["items"]] == [f"wallet:{USER}:EUR"]


async def test_an_owner_reads_the_own_record_hold_and_accounts_and_a_stranger_does_not(world: LedgerWorld) -> None:
    await world.deposit(USER, 5)
    hold_id = await world.reserve(USER, 1)
    sequence = (await read(world, "/api/v1/wallet/statement", currency="EUR"))["items"][0]["journal_sequence"]

    record = await read(world, f"/api/v1/wallet/records/{sequence}")
    hold = await read(world, f"/api/v1/wallet/holds/{hold_id}")
    accounts = await read(world, "/api/v1/wallet/accounts")

    assert [posting["account_code"] for posting in record["postings"]] == [f"wallet:{USER}:EUR"]
    assert (hold["state"], hold["held_minor"]) == ("open", 1)
    assert [account["code"] for account in accounts["items"]] == [f"wallet:{USER}:EUR"]
    stranger = uuid4()
    assert (await read(world, f"/api/v1/wallet/records/{sequence}", user=stranger))["reason"] == "record_not_found"
    assert (await read(world, f"/api/v1/wallet/holds/{hold_id}", user=stranger))["reason"] == "hold_not_found"
    assert (await read(world, "/api/v1/wallet/accounts", user=stranger))["items"] == []


async def test_the_description_shows_the_key_as_required_wherever_one_is_asked_for(world: LedgerWorld) -> None:
    document = (await world.http.get("/schema/openapi.json")).json()

    posts = {path: item["post"] for path, item in document["paths"].items() if "post" in item}
    keys = {
        path: [parameter for parameter in operation["parameters"] if parameter["name"] == "Idempotency-Key"]
        for path, operation in posts.items()
    }
    assert {"/api/v1/transfers", "/api/v1/wallet/withdrawals"} <= set(keys)
    assert {(path, len(found), found[0]["required"]) for path, found in keys.items()} == {
        (path, 1, True) for path in posts
    }
