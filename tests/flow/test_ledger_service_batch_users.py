"""Many buyers in one ExecuteBatch: each is judged by its own token, exactly as a call of its own would be."""

from pathlib import Path
from uuid import UUID, uuid4

from joserfc.jwk import RSAKey

from services.runtime.errors import TradeFlowError
from services.runtime.grpc_auth import USER_AUTHORIZATION
from services.runtime.grpc_errors import translating_errors
from tests.support.ledger import LedgerWorld, a_reserve, ledger_world
from tradeflow.ledger.v1 import commands_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages

BUYERS = 20
FUNDS_MINOR = 100


def tokens_of(world: LedgerWorld, owner: UUID) -> dict[str, str]:
    """Make tokens of all kinds that might come with an order of the owner's; the key says what they are."""
    now, mint = int(world.clock.now().timestamp()), world.issuer.user_token
    foreign_key = RSAKey.generate_key(2048, {"kid": "test-key"}, private=True)
    claims = {"iss": world.issuer.issuer, "sub": str(owner), "aud": "tradeflow", "jti": "1", "iat": now}
    return {
        "good": mint(owner),
        "of another user": mint(uuid4()),
        "of a service": world.issuer.service_token(str(owner)),
        "expired": mint(owner, exp=now - 60),
        "not yet valid": mint(owner, nbf=now + 600),
        "of another issuer": mint(owner, iss="https://elsewhere.test"),
        "for another service": mint(owner, aud="orders"),
        "forged": world.issuer.mint({**claims, "exp": now + 600}, key=foreign_key),
        "nonsense": "nonsense",
    }


def a_command(
    world: LedgerWorld, wallet_id: UUID, *, user_token: str = "", amount_minor: int = 1
) -> commands_pb2.Command:
    reserve = a_reserve(wallet_id, amount_minor, hold_id=uuid4(), expires_at=world.in_seconds(60))
    return commands_pb2.Command(reserve_funds=reserve, user_token=user_token)


async def unary_reason(world: LedgerWorld, wallet_id: UUID, token: str) -> str:
    """Reserve by a call of its own, and say how it was refused."""
    request = messages.ReserveFundsRequest(command=a_command(world, wallet_id).reserve_funds)
    try:
        with translating_errors():
            await world.stub.ReserveFunds(request, metadata=(*world.orders(), (USER_AUTHORIZATION, f"Bearer {token}")))
    except TradeFlowError as error:
        return error.reason
    return ""


async def test_each_token_is_judged_as_in_a_call_of_its_own_and_a_bad_one_is_refused_alone(tmp_path: Path) -> None:
    async with ledger_world(tmp_path) as world:
        owner = uuid4()
        await world.deposit(owner, FUNDS_MINOR)
        tokens = tokens_of(world, owner)
        alone = {kind: await unary_reason(world, owner, token) for kind, token in tokens.items()}
        commands = [a_command(world, owner, user_token=token) for token in tokens.values()]

        response = await world.stub.ExecuteBatch(
            messages.ExecuteBatchRequest(commands=commands), metadata=world.orders()
        )

        together = {kind: outcome.problem.reason for kind, outcome in zip(tokens, response.outcomes, strict=True)}
        assert together == alone
        assert [kind for kind, reason in together.items() if not reason] == ["good"]
        assert (await world.balance(owner)).available_minor == FUNDS_MINOR - 2


async def test_reservations_of_many_buyers_go_in_one_call_and_each_pays_for_itself(tmp_path: Path) -> None:
    async with ledger_world(tmp_path) as world:
        buyers = [uuid4() for _ in range(BUYERS)]
        for buyer in buyers:
            await world.deposit(buyer, FUNDS_MINOR)
        commands = [
            a_command(world, buyer, user_token=world.issuer.user_token(buyer), amount_minor=number + 1)
            for number, buyer in enumerate(buyers)
        ]

        response = await world.stub.ExecuteBatch(
            messages.ExecuteBatchRequest(commands=commands), metadata=world.orders()
        )

        assert all(outcome.HasField("receipt") for outcome in response.outcomes)
        left = [(await world.balance(buyer)).available_minor for buyer in buyers]
        assert left == [FUNDS_MINOR - number - 1 for number in range(BUYERS)]


async def test_a_commands_own_token_counts_and_not_the_calls(tmp_path: Path) -> None:
    async with ledger_world(tmp_path) as world:
        owner, other = uuid4(), uuid4()
        await world.deposit(owner, FUNDS_MINOR)
        await world.deposit(other, FUNDS_MINOR)
        commands = [
            a_command(world, owner, user_token=world.issuer.user_token(other)),
            a_command(world, owner),
            a_command(world, other, user_token=world.issuer.user_token(other)),
        ]

        response = await world.stub.ExecuteBatch(
            messages.ExecuteBatchRequest(commands=commands), metadata=world.orders(owner)
        )

        assert [outcome.problem.reason for outcome in response.outcomes] == ["not_wallet_owner", "", ""]
