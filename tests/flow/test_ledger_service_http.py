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
    assert ready.json()["checks"] == {"book": "ok", "order-events": "ok"}
    assert 'tradeflow_ledger_commands_total{outcome="accepted"} 1.0' in metrics.text
    assert "tradeflow_outbox_lag_seconds" in metrics.text
    assert 'tradeflow_consumer_healthy{consumer="ledger:order-events"} 1.0' in metrics.text
    assert "/api/v1/wallet/balance" in schema.json()["paths"]
