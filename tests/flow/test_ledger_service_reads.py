"""What the ledger's gRPC door tells of the past, of the chart and of the journal, and to whom."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from services.runtime.grpc_auth import call_metadata
from services.runtime.grpc_errors import error_of
from tests.support.ledger import LedgerWorld, a_capture, a_deposit, ledger_world, timestamp
from tradeflow.ledger.v1 import ledger_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages

BUYER, SELLER = uuid4(), uuid4()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LedgerWorld]:
    async with ledger_world(tmp_path) as running:
        yield running


def staff(world: LedgerWorld, role: str) -> tuple[tuple[str, str], ...]:
    return call_metadata(world.issuer.service_token("orders"), user_token=world.issuer.user_token(uuid4(), [role]))


async def reason_of(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error_of(error).reason
    return ""


async def deposit(world: LedgerWorld, amount: int, *, effective_at: datetime | None = None) -> datetime:
    """Bring money in for the buyer, and tell when it was recorded."""
    command = a_deposit(BUYER, amount)
    if effective_at is not None:
        command.effective_at.CopyFrom(timestamp(effective_at))
    answer = await world.stub.Deposit(messages.DepositRequest(command=command), metadata=world.orders())
    return answer.receipt.recorded_at.ToDatetime(tzinfo=world.clock.now().tzinfo)


async def posted(world: LedgerWorld, **instants: datetime) -> tuple[int, int]:
    """Ask for the settled balance and the number of postings at instants."""
    request = messages.GetBalanceRequest(wallet_id=str(BUYER), currency="EUR")
    for name, instant in instants.items():
        getattr(request, name).CopyFrom(timestamp(instant))
    answer = await world.stub.GetBalance(request, metadata=world.orders(BUYER))
    assert not answer.HasField("balance")
    return answer.posted_balance.posted_minor, answer.posted_balance.account_sequence


async def test_a_balance_at_every_instant_is_what_had_been_recorded_by_then(world: LedgerWorld) -> None:
    instants = [await deposit(world, amount) for amount in range(1, 41)]
    tick = timedelta(microseconds=1)

    at = [await posted(world, recorded_at=instant) for instant in instants]
    before = [await posted(world, recorded_at=instant - tick) for instant in instants]

    sums = [sum(range(1, count + 1)) for count in range(41)]
    assert at == [(sums[count], count) for count in range(1, 41)]
    assert before == [(sums[count], count) for count in range(40)]


async def test_a_balance_by_effective_date_counts_what_was_recorded_later_and_can_look_back(
    world: LedgerWorld,
) -> None:
    first = await deposit(world, 100)
    yesterday, last_week = first - timedelta(days=1), first - timedelta(days=7)
    second = await deposit(world, 10, effective_at=yesterday)
    await deposit(world, 1, effective_at=last_week)

    assert (await posted(world, effective_at=last_week - timedelta(seconds=1)))[0] == 0
    assert (await posted(world, effective_at=last_week))[0] == 1
    assert (await posted(world, effective_at=yesterday))[0] == 11
    assert (await posted(world, effective_at=world.clock.now()))[0] == 111
    assert (await posted(world, effective_at=yesterday, recorded_at=second))[0] == 10
    assert (await posted(world, effective_at=yesterday, recorded_at=first))[0] == 0
    assert (await posted(world, recorded_at=first))[0] == 100


async def test_a_statement_is_filtered_by_time_kind_and_direction_in_either_order(world: LedgerWorld) -> None:
    instants = [await deposit(world, amount) for amount in (1, 2, 3, 4, 5)]
    hold_id = await world.reserve(BUYER, 6, commit=True)
    capture = a_capture(BUYER, hold_id, {SELLER: 6})
    await world.stub.CaptureFunds(messages.CaptureFundsRequest(command=capture), metadata=world.orders())

    async def amounts(**wanted: Any) -> list[int]:
        request = messages.ListStatementRequest(wallet_id=str(BUYER), currency="EUR", page_size=2, **wanted)
        found: list[int] = []
        while True:
            page = await world.stub.ListStatement(request, metadata=world.orders(BUYER))
            found += [line.amount.amount_minor for line in page.lines]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    assert await amounts() == [1, 2, 3, 4, 5, -6]
    assert await amounts(newest_first=True) == [-6, 5, 4, 3, 2, 1]
    assert await amounts(direction=messages.DIRECTION_OUT) == [-6]
    assert await amounts(kinds=["deposit"], newest_first=True) == [5, 4, 3, 2, 1]
    assert await amounts(recorded_from=timestamp(instants[1]), recorded_until=timestamp(instants[4])) == [2, 3, 4]
    assert await amounts(recorded_until=timestamp(instants[0])) == []


async def test_the_chart_is_filtered_and_comes_in_pages(world: LedgerWorld) -> None:
    await deposit(world, 5)
    await world.deposit(SELLER, 7)
    await world.deposit(SELLER, 9, currency="JPY")

    async def codes(**wanted: Any) -> list[str]:
        request = messages.ListAccountsRequest(page_size=1, **wanted)
        found: list[str] = []
        while True:
            page = await world.stub.ListAccounts(request, metadata=world.orders())
            found += [account.code for account in page.accounts]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    wallets = sorted([f"wallet:{BUYER}:EUR", f"wallet:{SELLER}:EUR", f"wallet:{SELLER}:JPY"])
    assert await codes() == ["system:funding:EUR", "system:funding:JPY", *wallets]
    assert await codes(types=[ledger_pb2.ACCOUNT_TYPE_WALLET]) == wallets
    assert await codes(types=[ledger_pb2.ACCOUNT_TYPE_WALLET, ledger_pb2.ACCOUNT_TYPE_FUNDING]) == await codes()
    assert await codes(normal_side=ledger_pb2.ACCOUNT_SIDE_DEBIT) == ["system:funding:EUR", "system:funding:JPY"]
    assert await codes(currency="JPY") == ["system:funding:JPY", f"wallet:{SELLER}:JPY"]
    assert await codes(wallet_id=str(SELLER)) == [f"wallet:{SELLER}:EUR", f"wallet:{SELLER}:JPY"]
    assert await codes(code_prefix="system:funding:J") == ["system:funding:JPY"]


async def test_a_page_token_of_other_filters_is_refused_with_the_field_to_blame(world: LedgerWorld) -> None:
    await deposit(world, 5)
    request = messages.ListAccountsRequest(page_size=1)
    request.page_token = (await world.stub.ListAccounts(request, metadata=world.orders())).next_page_token
    request.currency = "EUR"

    assert await reason_of(world.stub.ListAccounts(request, metadata=world.orders())) == "page_token_malformed"


async def test_a_record_shows_all_to_staff_and_only_the_own_postings_to_an_owner(world: LedgerWorld) -> None:
    command = a_deposit(BUYER, 5, note="cash")
    command.metadata["invoice"] = "F-1"
    answer = await world.stub.Deposit(messages.DepositRequest(command=command), metadata=world.orders())
    request = messages.GetRecordRequest(journal_sequence=answer.receipt.journal_sequence)

    as_staff = (await world.stub.GetRecord(request, metadata=staff(world, "operator"))).record
    as_owner = (await world.stub.GetRecord(request, metadata=world.orders(BUYER))).record

    assert sum(posting.amount.amount_minor for posting in as_staff.postings) == 0
    assert {posting.account_code for posting in as_staff.postings} == {"system:funding:EUR", f"wallet:{BUYER}:EUR"}
    assert (dict(as_staff.metadata), as_staff.note, as_staff.kind) == ({"invoice": "F-1"}, "cash", "deposit")
    assert [posting.account_code for posting in as_owner.postings] == [f"wallet:{BUYER}:EUR"]
    assert (dict(as_owner.metadata), as_owner.note) == ({}, "")
    assert await reason_of(world.stub.GetRecord(request, metadata=world.orders(SELLER))) == "record_not_found"


async def test_records_are_found_by_hold_kind_time_and_account(world: LedgerWorld) -> None:
    instants = [await deposit(world, amount) for amount in (10, 20)]
    hold_id = await world.reserve(BUYER, 6)
    code = f"wallet:{BUYER}:EUR"

    async def kinds(metadata: Any = None, **wanted: Any) -> list[str]:
        request = messages.ListRecordsRequest(page_size=1, **wanted)
        found: list[str] = []
        while True:
            page = await world.stub.ListRecords(request, metadata=metadata or world.orders())
            found += [record.kind for record in page.records]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    assert (await kinds())[-3:] == ["deposit", "deposit", "reserve"]
    assert await kinds(hold_id=str(hold_id)) == ["reserve"]
    assert await kinds(kinds=["deposit"]) == ["deposit", "deposit"]
    assert await kinds(account_code=code) == ["deposit", "deposit"]
    assert await kinds(recorded_from=timestamp(instants[1])) == ["deposit", "reserve"]
    assert await kinds(account_code=code, recorded_until=timestamp(instants[1])) == ["deposit"]
    assert await kinds(metadata=world.orders(BUYER), account_code=code) == ["deposit", "deposit"]
    misspelled = messages.ListRecordsRequest(kinds=["deposit", "withdrawal"])
    assert await reason_of(world.stub.ListRecords(misspelled, metadata=world.orders())) == "filter_malformed"


async def test_many_holds_are_told_at_once_as_each_by_itself(world: LedgerWorld) -> None:
    await deposit(world, 100)
    holds = [str(await world.reserve(BUYER, amount, commit=True)) for amount in (5, 6, 7)]
    capture = a_capture(BUYER, UUID(holds[2]), {SELLER: 3, uuid4(): 4})
    await world.stub.CaptureFunds(messages.CaptureFundsRequest(command=capture), metadata=world.orders())
    asked = [holds[2], str(uuid4()), holds[0], holds[2]]

    answer = await world.stub.GetHolds(messages.GetHoldsRequest(hold_ids=asked), metadata=world.orders())

    alone = [
        await world.stub.GetHold(messages.GetHoldRequest(hold_id=hold_id), metadata=world.orders())
        for hold_id in (holds[2], holds[0])
    ]
    assert [(each.hold, list(each.shares)) for each in answer.holds] == [
        (each.hold, list(each.shares)) for each in alone
    ]
    assert [len(each.shares) for each in answer.holds] == [2, 0]


@pytest.mark.parametrize("hold_ids", [[], [str(uuid4())] * 257])
async def test_no_holds_and_too_many_are_refused(world: LedgerWorld, hold_ids: list[str]) -> None:
    request = messages.GetHoldsRequest(hold_ids=hold_ids)

    assert await reason_of(world.stub.GetHolds(request, metadata=world.orders())) == "holds_malformed"
    assert await reason_of(world.stub.GetHolds(messages.GetHoldsRequest(hold_ids=["x"]), metadata=world.orders())) == (
        "id_malformed"
    )


async def test_a_user_without_a_role_sees_nothing_of_others(world: LedgerWorld) -> None:
    await deposit(world, 5)
    hold_id = await world.reserve(BUYER, 1)
    stranger = world.orders(SELLER)
    of_buyer = messages.ListAccountsRequest(wallet_id=str(BUYER))
    hold = messages.GetHoldRequest(hold_id=str(hold_id))

    assert await reason_of(world.stub.ListAccounts(of_buyer, metadata=stranger)) == "not_wallet_owner"
    assert (
        await reason_of(world.stub.ListRecords(messages.ListRecordsRequest(), metadata=stranger)) == "not_wallet_owner"
    )
    assert await reason_of(world.stub.GetHold(hold, metadata=stranger)) == "hold_not_found"
    own = await world.stub.ListAccounts(messages.ListAccountsRequest(), metadata=world.orders(BUYER))
    assert [account.wallet_id for account in own.accounts] == [str(BUYER)]
    many = messages.GetHoldsRequest(hold_ids=[str(hold_id)])
    assert not (await world.stub.GetHolds(many, metadata=stranger)).holds
    assert len((await world.stub.GetHolds(many, metadata=world.orders(BUYER))).holds) == 1
    for role in ("operator", "treasury"):
        assert len((await world.stub.GetHolds(many, metadata=staff(world, role))).holds) == 1
        assert await reason_of(world.stub.ListAccounts(of_buyer, metadata=staff(world, role))) == ""
        assert await reason_of(world.stub.GetHold(hold, metadata=staff(world, role))) == ""
