"""The doors to the proof: heads and keys for everybody, a statement for the wallet's owner."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import grpc
import msgspec
import pytest

from services.ledger.proof.head_file import decode_key_file
from services.ledger.proof.heads import SignedHead, TrustedKeys
from services.ledger.proof.key_folder import FILE_NAME, ensure_signing_keys
from services.ledger.proof.notary import Notary
from services.ledger.proof.statement_check import check_statement
from tests.support.consistency_check import check_consistency
from tests.support.ledger import LedgerWorld, ledger_world
from tests.support.waiting import eventually
from tradeflow.ledger.v1 import proof_service_pb2 as messages
from tradeflow.ledger.v1.proof_service_pb2_grpc import ProofServiceStub

if TYPE_CHECKING:
    from tradeflow.ledger.v1.proof_service_pb2_grpc import ProofServiceAsyncStub  # the type stubs' own name

USER, OTHER = uuid4(), uuid4()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LedgerWorld]:
    keys = ensure_signing_keys(tmp_path / "ledger-keys")
    async with ledger_world(tmp_path, signing_keys_folder=keys) as world:
        yield world


@pytest.fixture
async def stub(world: LedgerWorld) -> AsyncIterator["ProofServiceAsyncStub"]:
    async with grpc.aio.insecure_channel(world.ledger.grpc_target) as channel:
        yield ProofServiceStub(channel)


async def sign(world: LedgerWorld) -> SignedHead:
    """Have the head signed now instead of some seconds later."""
    head = await Notary(world.ledger.book, world.clock, keys_folder=world.settings.signing_keys_folder).run_once()
    assert head is not None
    return head


async def get(world: LedgerWorld, path: str, headers: dict[str, str] | None = None) -> Any:
    answer = await world.http.get(path, headers=headers or {})
    return answer.status_code, answer.json()


async def test_the_running_ledger_signs_by_itself(world: LedgerWorld) -> None:
    await world.deposit(USER, 5)

    async def is_signed() -> bool:
        status, _ = await get(world, "/api/v1/ledger/head")
        return bool(status == 200)

    await eventually(is_signed, seconds_max=60)


async def test_everybody_reads_heads_and_keys_that_fit_each_other(world: LedgerWorld) -> None:
    await world.deposit(USER, 5)
    signed = await sign(world)

    head = await world.http.get("/api/v1/ledger/head")
    keys = await world.http.get("/api/v1/ledger/keys")

    assert msgspec.json.decode(head.content, type=SignedHead) == signed
    TrustedKeys.of(decode_key_file(keys.content)).check_head(signed)
    assert "d" not in keys.json()["keys"][0]


async def test_a_user_reads_the_own_statement_and_nobody_elses(world: LedgerWorld) -> None:
    await world.deposit(USER, 5)
    await world.deposit(OTHER, 6)
    await sign(world)
    path = "/api/v1/wallet/statement/proof?currency=EUR"

    answer = await world.http.get(path, headers=world.bearer(USER))
    checked = check_statement(answer.content)

    assert (checked.problems, checked.wallet_id, checked.balance_minor) == ((), USER, 5)
    assert answer.headers["content-type"] == "application/json"
    assert (await get(world, path))[0] == 401
    assert (await get(world, path, {"Authorization": f"Bearer {world.issuer.service_token('orders')}"}))[0] in {
        401,
        403,
    }
    status, problem = await get(world, f"{path}&from_account_sequence=7", world.bearer(USER))
    assert (status, problem["reason"]) == (400, "statement_range_malformed")
    status, problem = await get(world, path.replace("EUR", "JPY"), world.bearer(USER))
    assert (status, problem["reason"]) == (404, "account_not_open")


async def test_before_the_first_head_the_answer_says_so(world: LedgerWorld) -> None:
    status, problem = await get(world, "/api/v1/ledger/head")

    assert (status, problem["reason"]) == (503, "head_not_signed")


async def test_a_head_is_shown_to_have_grown_from_an_earlier_one(
    world: LedgerWorld, stub: "ProofServiceAsyncStub"
) -> None:
    await world.deposit(USER, 5)
    old = await sign(world)
    await world.deposit(USER, 6)
    new = await sign(world)

    over_grpc = await stub.GetConsistencyProof(
        messages.GetConsistencyProofRequest(old_tree_size=old.tree_size), metadata=world.orders()
    )
    status, over_http = await get(world, f"/api/v1/ledger/consistency?old_tree_size={old.tree_size}")

    check_consistency(
        old_size=old.tree_size, old_root=old.root, size=new.tree_size, root=new.root, path=list(over_grpc.path)
    )
    assert (status, over_http["tree_size"], len(over_http["path"])) == (200, new.tree_size, len(over_grpc.path))
    assert (await get(world, "/api/v1/ledger/consistency?old_tree_size=99"))[1]["reason"] == "tree_size_malformed"


async def test_services_read_the_same_over_grpc(world: LedgerWorld, stub: "ProofServiceAsyncStub") -> None:
    await world.deposit(USER, 5)
    signed = await sign(world)

    head = await stub.GetSignedHead(messages.GetSignedHeadRequest(), metadata=world.orders())
    keys = await stub.ListSigningKeys(messages.ListSigningKeysRequest(), metadata=world.orders())
    statement = await stub.GetStatementProof(
        messages.GetStatementProofRequest(wallet_id=str(USER), currency="EUR"), metadata=world.orders(USER)
    )

    assert (head.head.root, head.head.signature) == (signed.root, signed.signature)
    assert [key.key_id for key in keys.keys] == [signed.key_id]
    assert check_statement(statement.document).problems == ()


async def test_a_statement_over_grpc_is_the_owners(world: LedgerWorld, stub: "ProofServiceAsyncStub") -> None:
    await world.deposit(USER, 5)
    await sign(world)
    request = messages.GetStatementProofRequest(wallet_id=str(USER), currency="EUR")

    with pytest.raises(grpc.aio.AioRpcError) as stranger:
        await stub.GetStatementProof(request, metadata=world.orders(OTHER))
    with pytest.raises(grpc.aio.AioRpcError) as nobody:
        await stub.GetStatementProof(request)

    assert (stranger.value.code(), nobody.value.code()) == (
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
    )


@pytest.mark.parametrize("trouble", ["half written", "not there", "unreadable"])
async def test_a_ledger_whose_keys_cant_be_used_makes_no_statement_now_and_names_no_path(
    world: LedgerWorld, stub: "ProofServiceAsyncStub", trouble: str
) -> None:
    await world.deposit(USER, 5)
    await sign(world)
    assert world.settings.signing_keys_folder is not None
    file = world.settings.signing_keys_folder / FILE_NAME
    content = file.read_bytes()
    if trouble == "half written":
        file.write_bytes(content[:20])
    else:
        file.unlink()
    if trouble == "unreadable":
        file.symlink_to("/proc/self/mem")  # an error for the superuser too

    status, problem = await get(world, "/api/v1/wallet/statement/proof?currency=EUR", world.bearer(USER))
    with pytest.raises(grpc.aio.AioRpcError) as over_grpc:
        await stub.GetStatementProof(
            messages.GetStatementProofRequest(wallet_id=str(USER), currency="EUR"), metadata=world.orders(USER)
        )

    assert (status, problem["reason"]) == (503, "head_not_signed")
    assert over_grpc.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "ledger-" not in f"{problem['detail']} {over_grpc.value.details()}"


async def test_a_ledger_without_keys_signs_nothing_and_serves_all_else(tmp_path: Path) -> None:
    async with ledger_world(tmp_path) as world:
        await world.deposit(USER, 5)

        status, problem = await get(world, "/api/v1/ledger/head")
        ready = await world.http.get("/readyz")

        assert (status, problem["reason"], ready.status_code) == (503, "head_not_signed", 200)
        assert (await get(world, "/api/v1/ledger/keys")) == (200, {"keys": []})
