"""The field that a malformed command's refusal names is one that its message has."""

import pytest

from services.ledger.inbound.command_messages import Call, CommandMessage, command_of
from services.runtime.errors import InvalidArgumentError
from tradeflow.common.v1.money_pb2 import Money
from tradeflow.ledger.v1 import commands_pb2 as commands
from tradeflow.ledger.v1.ledger_pb2 import RefundLeg, TransferLeg

WALLET = "018f4e6e-7f3a-7c3a-8f7e-0123456789ab"

TOO_MUCH = Money(amount_minor=2**53, currency="EUR")
UNKNOWN = Money(amount_minor=1, currency="eur")


@pytest.mark.parametrize(
    ("message", "reason", "field"),
    [
        (commands.Deposit(wallet_id=WALLET, amount=TOO_MUCH), "invalid_amount", "amount"),
        (commands.Deposit(wallet_id=WALLET, amount=UNKNOWN), "unknown_asset", "amount.currency"),
        (commands.OpenAccount(wallet_id=WALLET, currency="eur"), "unknown_asset", "currency"),
        (commands.Transfer(legs=[TransferLeg(wallet_id=WALLET, amount=TOO_MUCH)]), "invalid_amount", "legs"),
        (
            commands.Transfer(legs=[TransferLeg(wallet_id=WALLET, amount=UNKNOWN)]),
            "unknown_asset",
            "legs.amount.currency",
        ),
        (
            commands.SetLimit(wallet_id=WALLET, currency="EUR", overdraft_limit_minor=-1),
            "invalid_amount",
            "overdraft_limit_minor",
        ),
        (
            commands.RefundCapture(
                hold_id=WALLET, wallet_id=WALLET, capture_number=1, legs=[RefundLeg(seller_id=WALLET)]
            ),
            "invalid_amount",
            "legs",
        ),
    ],
)
def test_the_field_to_blame_is_one_that_the_message_has(message: CommandMessage, reason: str, field: str) -> None:
    message.idempotency_key = "k"

    with pytest.raises(InvalidArgumentError) as refused:
        command_of(message, Call(service="treasury"))

    assert (refused.value.reason, refused.value.details["field"]) == (reason, field)
