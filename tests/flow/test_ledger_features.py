"""What a ledger must have, row by row, each seen through the doors of a real one on SQLite.

One ledger serves all of it; each test has wallets of its own. Reconciliation is of orders with the ledger, so its proof
is where both are: tests/flow/test_platform_verification.py.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
import pytest_asyncio

from services.ledger.proof.key_folder import ensure_signing_keys
from services.ledger.proof.statement_check import check_statement
from services.runtime.broker.opening import open_broker
from tests.support.ledger import (
    LedgerWorld,
    a_capture,
    a_commit,
    a_deposit,
    a_refund,
    a_void,
    ledger_world,
    timestamp,
)
from tests.support.platform import run_command
from tests.support.waiting import eventually
from tradeflow.common.v1.money_pb2 import Money
from tradeflow.common.v1.wallet_pb2 import HOLD_STATE_CAPTURED, HOLD_STATE_EXPIRED, HOLD_STATE_VOIDED, Hold
from tradeflow.events.v1.wallet_event_pb2 import WalletEvent
from tradeflow.ledger.v1 import commands_pb2 as commands
from tradeflow.ledger.v1 import ledger_pb2 as ledger
from tradeflow.ledger.v1 import ledger_service_pb2 as messages
from tradeflow.ledger.v1 import proof_service_pb2 as proofs
from tradeflow.ledger.v1.proof_service_pb2_grpc import ProofServiceStub

pytestmark = [pytest.mark.ci, pytest.mark.asyncio(loop_scope="module")]

ASSETS = {"HOURS": 0, "CARBON": 6}
"""Assets of this installation's own."""

NAMES = {
    "Deposit": "deposit",
    "Withdraw": "withdraw",
    "Transfer": "transfer",
    "SetLimit": "set_limit",
    "ReverseRecord": "reverse_record",
    "OpenAccount": "open_account",
    "ReserveFunds": "reserve_funds",
    "CommitHold": "commit_hold",
    "CaptureFunds": "capture_funds",
    "VoidHold": "void_hold",
    "RefundCapture": "refund_capture",
}
"""Where a command of a batch stands, by its message."""


OF_THE_TREASURY = (commands.Withdraw, commands.Transfer, commands.SetLimit, commands.ReverseRecord)
"""What no other service sends without the user's own token."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LedgerWorld]:
    folder = tmp_path_factory.mktemp("ledger")
    keys = ensure_signing_keys(folder / "keys")
    async with ledger_world(folder, assets=ASSETS, signing_keys_folder=keys) as running:
        yield running


async def batch(world: LedgerWorld, *wished: Any) -> list[commands.Outcome]:
    """Run commands in one call, in their order; the treasury sends what is its own."""
    request = messages.ExecuteBatchRequest(
        commands=[commands.Command(**{NAMES[type(one).__name__]: one}) for one in wished]
    )
    service = "treasury" if any(isinstance(one, OF_THE_TREASURY) for one in wished) else "orders"
    answer = await world.stub.ExecuteBatch(request, metadata=world.service(service))
    return list(answer.outcomes)


async def accepted(world: LedgerWorld, *wished: Any) -> list[commands.Receipt]:
    """Run commands that must be accepted."""
    outcomes = await batch(world, *wished)
    assert [outcome.WhichOneof("outcome") for outcome in outcomes] == ["receipt"] * len(wished), outcomes
    return [outcome.receipt for outcome in outcomes]


async def refused(world: LedgerWorld, wished: Any) -> str:
    """Run a command that must be refused, and tell the reason."""
    (outcome,) = await batch(world, wished)
    return str(outcome.problem.reason)


def key() -> str:
    return str(uuid4())


def leg(account: UUID | int, amount_minor: int, currency: str = "EUR") -> ledger.TransferLeg:
    """Build a leg of a transfer: of a wallet, or of one of the platform's accounts by its type."""
    amount = Money(amount_minor=amount_minor, currency=currency)
    if isinstance(account, UUID):
        return ledger.TransferLeg(wallet_id=str(account), amount=amount)
    return ledger.TransferLeg(system_account=account, amount=amount)  # type: ignore[arg-type]  # an enum's number


def transfer(*legs: ledger.TransferLeg, **fields: Any) -> commands.Transfer:
    return commands.Transfer(legs=legs, idempotency_key=key(), **fields)


def withdraw(wallet: UUID, amount_minor: int, **fields: Any) -> commands.Withdraw:
    amount = Money(amount_minor=amount_minor, currency="EUR")
    return commands.Withdraw(wallet_id=str(wallet), amount=amount, idempotency_key=key(), **fields)


async def hold_of(world: LedgerWorld, hold_id: UUID) -> Hold:
    return (await world.stub.GetHold(messages.GetHoldRequest(hold_id=str(hold_id)), metadata=world.orders())).hold


async def shares_of(world: LedgerWorld, hold_id: UUID) -> list[tuple[str, int, int]]:
    answer = await world.stub.GetHold(messages.GetHoldRequest(hold_id=str(hold_id)), metadata=world.orders())
    return [(share.seller_id, share.gross_minor, share.gross_refunded_minor) for share in answer.shares]


async def record_of(world: LedgerWorld, sequence: int) -> ledger.Record:
    request = messages.GetRecordRequest(journal_sequence=sequence)
    return (await world.stub.GetRecord(request, metadata=world.orders())).record


async def test_several_assets_each_with_its_precision(world: LedgerWorld) -> None:
    wallet = uuid4()
    for currency, amount_minor in (("EUR", 1_234), ("JPY", 500), ("BHD", 1), ("HOURS", 7), ("CARBON", 1_500_000)):
        await world.deposit(wallet, amount_minor, currency=currency)

    balances = {currency: await world.balance(wallet, currency) for currency in ("EUR", "JPY", "HOURS", "CARBON")}

    assert [balance.posted_minor for balance in balances.values()] == [1_234, 500, 7, 1_500_000]
    assert await refused(world, a_deposit(wallet, 1, currency="KARMA")) == "unknown_asset"
    assert await refused(world, a_deposit(wallet, 1, currency="XAU")) == "unknown_asset"


async def test_an_overdraft_limit_per_account(world: LedgerWorld) -> None:
    wallet = uuid4()
    limit = commands.SetLimit(wallet_id=str(wallet), currency="EUR", overdraft_limit_minor=500, idempotency_key=key())
    await accepted(world, limit, withdraw(wallet, 400))

    balance = await world.balance(wallet)
    less = commands.SetLimit(wallet_id=str(wallet), currency="EUR", overdraft_limit_minor=399, idempotency_key=key())

    assert (balance.posted_minor, balance.available_minor, balance.overdraft_limit_minor) == (-400, 100, 500)
    assert await refused(world, withdraw(wallet, 101)) == "insufficient_funds"
    assert await refused(world, less) == "limit_in_use"


async def told_available(world: LedgerWorld, wallet: UUID) -> dict[str, set[int]]:
    """Tell what each door and each event says that is available, in the wallet and in all accounts of the book."""
    of_wallet = messages.ListWalletEventsRequest(wallet_id=str(wallet))
    chart = await world.stub.ListAccounts(messages.ListAccountsRequest(), metadata=world.orders())
    events = await world.stub.ListWalletEvents(of_wallet, metadata=world.orders())
    operator, owner = world.bearer(uuid4(), "operator"), world.bearer(wallet)
    rest_chart = (await world.http.get("/api/v1/accounts", headers=operator)).json()["items"]
    rest = (await world.http.get("/api/v1/wallet/balance?currency=EUR", headers=owner)).json()
    return {
        "gRPC's chart": {account.available_minor for account in chart.accounts},
        "gRPC's balance": {(await world.balance(wallet)).available_minor},
        "REST's chart": {account["available"]["amount_minor"] for account in rest_chart},
        "REST's balance": {rest["available"]["amount_minor"]},
        "events": {event.balance.available_minor for event in events.events},
    }


async def test_what_is_available_is_told_within_what_json_carries_and_can_be_spent_beyond(world: LedgerWorld) -> None:
    wallet = uuid4()
    most = 2**53 - 1
    limit = commands.SetLimit(wallet_id=str(wallet), currency="EUR", overdraft_limit_minor=most, idempotency_key=key())
    await accepted(world, limit, a_deposit(wallet, 1_000))

    told = await told_available(world, wallet)

    assert {place: max(amounts) for place, amounts in told.items()} == dict.fromkeys(told, most)
    await accepted(world, withdraw(wallet, most))
    assert await refused(world, withdraw(wallet, 1_001)) == "insufficient_funds"
    await accepted(world, withdraw(wallet, 1_000), a_deposit(wallet, most))


async def test_hold_capture_and_void(world: LedgerWorld) -> None:
    buyer, seller = uuid4(), uuid4()
    await world.deposit(buyer, 1_000)
    bought = await world.reserve(buyer, 600, commit=True)
    changed_mind = await world.reserve(buyer, 300)

    await accepted(world, a_capture(buyer, bought, {seller: 600}), a_void(buyer, changed_mind))

    assert (await hold_of(world, bought)).state == HOLD_STATE_CAPTURED
    assert (await hold_of(world, changed_mind)).state == HOLD_STATE_VOIDED
    assert (await world.balance(buyer)).available_minor == 400
    assert (await world.balance(seller)).available_minor == 585


async def test_a_hold_times_out_by_itself(world: LedgerWorld) -> None:
    buyer = uuid4()
    await world.deposit(buyer, 1_000)
    hold_id = await world.reserve(buyer, 1_000, seconds=1)

    async def released() -> bool:
        return (await world.balance(buyer)).available_minor == 1_000

    assert (await world.balance(buyer)).available_minor == 0
    await eventually(released)
    assert (await hold_of(world, hold_id)).state == HOLD_STATE_EXPIRED
    assert await refused(world, a_commit(buyer, hold_id)) == "hold_closed"


async def test_several_partial_captures_of_one_hold(world: LedgerWorld) -> None:
    buyer, seller, other = uuid4(), uuid4(), uuid4()
    await world.deposit(buyer, 1_000)
    hold_id = await world.reserve(buyer, 1_000, commit=True)

    await accepted(
        world,
        a_capture(buyer, hold_id, {seller: 111}, number=1, final=False),
        a_capture(buyer, hold_id, {seller: 222, other: 100}, number=2, final=False),
        a_capture(buyer, hold_id, {seller: 67}, number=3, final=True),
    )

    hold = await hold_of(world, hold_id)
    assert (hold.captured_minor, hold.voided_minor, hold.remaining_minor) == (500, 500, 0)
    assert (await world.balance(seller)).posted_minor == 400 - 10, "the fee of the whole, 2.5 % of 400"
    assert (await world.balance(buyer)).available_minor == 500


async def test_a_hold_tells_what_each_seller_got_of_it_and_gave_back(world: LedgerWorld) -> None:
    buyer, (seller, other) = uuid4(), sorted([uuid4(), uuid4()])
    await world.deposit(buyer, 1_000)
    hold_id = await world.reserve(buyer, 1_000, commit=True)
    before = await shares_of(world, hold_id)

    await accepted(
        world,
        a_capture(buyer, hold_id, {seller: 300}, number=1, final=False),
        a_capture(buyer, hold_id, {seller: 200, other: 500}, number=2, final=True),
        a_refund(buyer, hold_id, {seller: 7}),
    )
    once = await shares_of(world, hold_id)
    await accepted(world, a_refund(buyer, hold_id, {seller: 1, other: 500}, number=2))

    assert before == []
    assert once == [(str(seller), 500, 7), (str(other), 500, 0)]
    assert await shares_of(world, hold_id) == [(str(seller), 500, 8), (str(other), 500, 500)]


async def test_idempotency_with_a_fingerprint_and_refusals_replayed(world: LedgerWorld) -> None:
    wallet = uuid4()
    first = a_deposit(wallet, 500, key=str(uuid4()))
    too_much = withdraw(wallet, 501)

    (once,), refusal = await accepted(world, first), await refused(world, too_much)
    await world.deposit(wallet, 500)
    (again,), still = await accepted(world, first), await refused(world, too_much)

    assert (again.replayed, again.journal_sequence) == (True, once.journal_sequence)
    assert (refusal, still) == ("insufficient_funds", "insufficient_funds"), "though there is enough by now"
    other_content = a_deposit(wallet, 501, key=first.idempotency_key)
    assert await refused(world, other_content) == "idempotency_key_reused"
    assert (await world.balance(wallet)).posted_minor == 1_000


async def test_entries_of_many_postings_are_atomic(world: LedgerWorld) -> None:
    payer, *receivers = [uuid4() for _ in range(5)]
    await world.deposit(payer, 1_000)
    shares = [leg(receiver, 100) for receiver in receivers]
    exchange = ledger.ACCOUNT_TYPE_EXCHANGE

    (receipt,) = await accepted(world, transfer(leg(payer, -400), *shares))
    (exchanged,) = await accepted(
        world, transfer(leg(payer, -100), leg(exchange, 100), leg(exchange, -16_000, "JPY"), leg(payer, 16_000, "JPY"))
    )
    missing = transfer(leg(payer, -501), leg(receivers[0], 501))

    assert len((await record_of(world, receipt.journal_sequence)).postings) == 5
    assert [posting.amount.currency for posting in (await record_of(world, exchanged.journal_sequence)).postings] == [
        *("EUR", "EUR", "JPY", "JPY")
    ]
    assert await refused(world, missing) == "insufficient_funds"
    assert [(await world.balance(wallet)).posted_minor for wallet in (payer, *receivers)] == [500, 100, 100, 100, 100]


async def test_reversal_and_partial_refund_never_beyond_what_was_captured(world: LedgerWorld) -> None:
    buyer, seller = uuid4(), uuid4()
    await world.deposit(buyer, 1_000)
    hold_id = await world.reserve(buyer, 1_000, commit=True)
    capture, _ = await accepted(
        world, a_capture(buyer, hold_id, {seller: 1_000}), a_refund(buyer, hold_id, {seller: 300})
    )
    undo = commands.ReverseRecord(journal_sequence=capture.journal_sequence, idempotency_key=key())

    too_much = await refused(world, a_refund(buyer, hold_id, {seller: 701}))
    (undone,) = await accepted(world, undo)

    assert too_much == "exceeds_capture"
    assert (await record_of(world, capture.journal_sequence)).reversed_by == undone.journal_sequence
    assert (await world.balance(buyer)).posted_minor == 1_000
    assert (await world.balance(seller)).posted_minor == 0
    assert await refused(world, a_refund(buyer, hold_id, {seller: 1})) == "capture_reversed"
    again = commands.ReverseRecord(journal_sequence=capture.journal_sequence, idempotency_key=key())
    assert await refused(world, again) == "already_reversed"


async def test_metadata_is_kept_with_the_record_and_covered_by_its_hash(world: LedgerWorld) -> None:
    command = a_deposit(uuid4(), 100, note="by post")
    command.metadata.update({"invoice": "2026-7", "ürün": "çay"})

    (receipt,) = await accepted(world, command)

    record = await record_of(world, receipt.journal_sequence)
    assert (dict(record.metadata), record.note) == ({"invoice": "2026-7", "ürün": "çay"}, "by post")
    assert (await world.verify()).problems == ()
    command.metadata["invoice"] = "2026-8"
    assert await refused(world, command) == "idempotency_key_reused"


async def test_a_chart_of_accounts(world: LedgerWorld) -> None:
    wallet = uuid4()
    await world.deposit(wallet, 100)
    request = messages.ListAccountsRequest(currency="EUR", types=[ledger.ACCOUNT_TYPE_WALLET], wallet_id=str(wallet))

    (mine,) = (await world.stub.ListAccounts(request, metadata=world.orders())).accounts
    system = messages.ListAccountsRequest(code_prefix="system:", currency="EUR")
    platform = {
        account.code: account for account in (await world.stub.ListAccounts(system, metadata=world.orders())).accounts
    }

    assert (mine.code, mine.posted_minor, mine.normal_side) == (
        *(f"wallet:{wallet}:EUR", 100, ledger.ACCOUNT_SIDE_CREDIT),
    )
    assert platform["system:funding:EUR"].normal_side == ledger.ACCOUNT_SIDE_DEBIT
    assert platform["system:funding:EUR"].posted_minor >= 100
    assert not any(account.wallet_id for account in platform.values())


async def test_a_balance_at_any_instant_as_recorded_and_by_effective_date(world: LedgerWorld) -> None:
    wallet, last_week = uuid4(), datetime.now(UTC) - timedelta(days=7)
    (first,) = await accepted(world, a_deposit(wallet, 100))
    backdated = a_deposit(wallet, 50)
    backdated.effective_at.CopyFrom(timestamp(last_week))
    await accepted(world, backdated, withdraw(wallet, 30))

    async def posted(**instants: Any) -> int:
        request = messages.GetBalanceRequest(wallet_id=str(wallet), currency="EUR", **instants)
        answer = await world.stub.GetBalance(request, metadata=world.orders())
        return int(answer.posted_balance.posted_minor)

    assert await posted(recorded_at=first.recorded_at) == 100
    assert await posted(effective_at=timestamp(last_week)) == 50
    assert await posted(effective_at=timestamp(last_week - timedelta(seconds=1))) == 0
    assert await posted(effective_at=first.recorded_at) == 150
    assert await posted(recorded_at=first.recorded_at, effective_at=timestamp(last_week)) == 0
    assert (await world.balance(wallet)).posted_minor == 120


async def test_bulk_by_batch_and_by_stream(world: LedgerWorld) -> None:
    wallet = uuid4()
    outcomes = await batch(world, *[a_deposit(wallet, 1) for _ in range(1_024)])

    async def requests() -> AsyncIterator[messages.ExecuteStreamRequest]:
        for start in range(0, 500, 100):
            numbered = [
                messages.NumberedCommand(
                    number=number, command=commands.Command(deposit=a_deposit(wallet, 1 if number % 5 else 0))
                )
                for number in range(start + 1, start + 101)
            ]
            yield messages.ExecuteStreamRequest(commands=numbered)

    found: dict[int, str] = {}
    async for answer in world.stub.ExecuteStream(requests(), metadata=world.orders()):
        found.update({one.number: one.outcome.WhichOneof("outcome") or "" for one in answer.outcomes})

    assert {outcome.WhichOneof("outcome") for outcome in outcomes} == {"receipt"}
    assert sorted(found) == list(range(1, 501))
    assert [number for number, result in found.items() if result == "problem"] == list(range(5, 501, 5))
    assert (await world.balance(wallet)).posted_minor == 1_024 + 400


async def test_events_are_written_in_the_commit_of_what_they_tell(world: LedgerWorld) -> None:
    wallet = uuid4()
    await world.deposit(wallet, 100)
    request = messages.ListWalletEventsRequest(wallet_id=str(wallet))

    told = (await world.stub.ListWalletEvents(request, metadata=world.orders())).events
    published = [event async for event in published_to(world, wallet, count=2)]

    assert [(event.sequence, event.WhichOneof("fact")) for event in told] == [
        *((1, "account_opened"), (2, "funds_deposited"))
    ]
    assert [event.SerializeToString() for event in published] == [event.SerializeToString() for event in told]


async def published_to(world: LedgerWorld, wallet: UUID, *, count: int) -> AsyncIterator[WalletEvent]:
    """Read what the topic has of a wallet."""
    broker = open_broker(world.settings.broker_url)
    try:
        consumer = broker.group_consumer(group=f"test-{uuid4()}", topics=["wallet-events"])
        seen = 0
        async with asyncio.timeout(60):
            while seen < count:
                for message in await consumer.poll(messages_max=500, timeout_seconds=0.2):
                    event = WalletEvent.FromString(message.value)
                    if event.wallet_id == str(wallet):
                        seen += 1
                        yield event
        await consumer.close()
    finally:
        await broker.close()


async def test_a_hash_chain_that_verifies_and_statements_that_users_check(world: LedgerWorld) -> None:
    buyer, seller = uuid4(), uuid4()
    await world.deposit(buyer, 1_000)
    hold_id = await world.reserve(buyer, 700, commit=True)
    (receipt,) = await accepted(world, a_capture(buyer, hold_id, {seller: 700}))

    report = await world.verify()
    document = await statement_of(world, seller, at_least=receipt.journal_sequence)
    checked = check_statement(document)

    assert report.problems == ()
    assert report.records == report.last_sequence >= receipt.journal_sequence
    assert (checked.problems, checked.rows, checked.balance_minor) == ((), 1, 683)
    assert str(buyer).encode() not in document
    assert check_statement(document.replace(b"683", b"684")).problems


async def statement_of(world: LedgerWorld, wallet: UUID, *, at_least: int) -> bytes:
    """Ask for a statement's proof, once the notary signed what it needs."""
    async with grpc.aio.insecure_channel(world.ledger.grpc_target) as channel:
        stub: Any = ProofServiceStub(channel)

        async def signed() -> bool:
            try:
                head = await stub.GetSignedHead(proofs.GetSignedHeadRequest(), metadata=world.orders())
            except grpc.aio.AioRpcError:
                return False
            return bool(head.head.tree_size >= at_least)

        await eventually(signed)
        request = proofs.GetStatementProofRequest(wallet_id=str(wallet), currency="EUR")
        answer = await stub.GetStatementProof(request, metadata=world.orders(wallet))
    return bytes(answer.document)


async def test_a_book_is_exported_and_imported_with_its_hashes(world: LedgerWorld, tmp_path: Path) -> None:
    await world.deposit(uuid4(), 100)
    book, copy, source = tmp_path / "book.jsonl", tmp_path / "copy.jsonl", world.settings.database_url

    exported = run_command("ledger", "export", str(book), "--database", source)
    imported = run_command("ledger", "import", str(book), "--database", f"sqlite:///{tmp_path}/copy.db")
    again = run_command("ledger", "export", str(copy), "--database", f"sqlite:///{tmp_path}/copy.db")

    assert [told.returncode for told in (exported, imported, again)] == [0, 0, 0], (exported, imported, again)
    assert book.read_bytes() == copy.read_bytes()


async def test_lists_have_filters_and_cursors(world: LedgerWorld) -> None:
    wallet = uuid4()
    await accepted(world, *[a_deposit(wallet, amount) for amount in range(1, 6)], withdraw(wallet, 3))
    code = f"wallet:{wallet}:EUR"

    async def sequences(**filters: Any) -> list[int]:
        found, token = [], ""
        while True:
            request = messages.ListRecordsRequest(account_code=code, page_size=2, page_token=token, **filters)
            page = await world.stub.ListRecords(request, metadata=world.orders())
            found += [record.journal_sequence for record in page.records]
            token = page.next_page_token
            if not token:
                return found

    every = await sequences()
    middle = (await record_of(world, every[2])).recorded_at
    statement = messages.ListStatementRequest(
        wallet_id=str(wallet), currency="EUR", page_size=2, kinds=["deposit"], newest_first=True
    )
    first = await world.stub.ListStatement(statement, metadata=world.orders(wallet))
    statement.page_token = first.next_page_token
    second = await world.stub.ListStatement(statement, metadata=world.orders(wallet))

    assert len(every) == len(set(every)) == 6
    assert await sequences(kinds=["withdraw"]) == [max(every)]
    assert sorted(await sequences(recorded_from=middle)) == sorted(every)[2:]
    assert [line.amount.amount_minor for line in [*first.lines, *second.lines]] == [5, 4, 3, 2]


async def test_a_dry_run_tells_what_would_happen_and_changes_nothing(world: LedgerWorld) -> None:
    wallet = uuid4()
    await world.deposit(wallet, 100)
    before = (await world.verify()).last_hash
    fine, too_much = withdraw(wallet, 100, dry_run=True), withdraw(wallet, 101, dry_run=True)

    (receipt,) = await accepted(world, fine)

    assert (receipt.dry_run, receipt.journal_sequence) == (True, 0)
    assert await refused(world, too_much) == "insufficient_funds"
    assert (await world.verify()).last_hash == before
    fine.dry_run = False
    (real,) = await accepted(world, fine)
    assert (real.replayed, real.journal_sequence > 0) == (False, True)


async def test_a_command_line(world: LedgerWorld) -> None:
    await world.deposit(uuid4(), 100)

    told = run_command("verify", "--database", world.settings.database_url)

    assert told.returncode == 0, told.stderr
    assert "journal" in (told.stdout + told.stderr).lower()
