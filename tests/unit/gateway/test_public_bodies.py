"""The gateway's description of the public API against the bodies that the services really take and answer."""

from typing import get_args

import msgspec
import pytest

from services.gateway.inbound import deposits_api, public_bodies, public_history_routes, public_ledger_routes
from services.ledger.domain.account import AccountType
from services.ledger.domain.hold import HoldState
from services.ledger.inbound import http_bodies as ledger_bodies
from services.ledger.inbound import http_command_bodies as command_bodies
from services.ledger.proof import book_proofs, heads
from services.ledger.proof.statement_document import StatementDocument
from services.money_json import MoneyBody
from services.orders.domain.order_state import OrderState
from services.orders.inbound import discrepancies_api, history_api, refunds_api
from services.orders.inbound import http_bodies as orders_bodies

PAIRS = [
    (public_bodies.Balance, ledger_bodies.BalanceBody),
    (public_bodies.StatementLine, ledger_bodies.StatementLineBody),
    (public_bodies.StatementPage, ledger_bodies.StatementBody),
    (public_bodies.StatementFile, StatementDocument),
    (public_bodies.SignedHead, heads.SignedHead),
    (public_bodies.SigningKey, heads.PublicJwk),
    (public_bodies.SigningKeys, heads.JwkSet),
    (public_bodies.PostedBalance, ledger_bodies.PostedBalanceBody),
    (public_bodies.Deposited, command_bodies.DepositedBody),
    (public_bodies.Withdrawal, command_bodies.WithdrawalBody),
    (deposits_api.LedgerDepositBody, command_bodies.DepositBody),
    (public_bodies.Money, MoneyBody),
    (public_bodies.Product, orders_bodies.ProductBody),
    (public_bodies.NewProduct, orders_bodies.NewProductBody),
    (public_bodies.ProductChange, orders_bodies.ProductChangesBody),
    (public_bodies.WantedLine, orders_bodies.WishBody),
    (public_bodies.PlaceOrder, orders_bodies.PlaceOrderBody),
    (public_bodies.Order, orders_bodies.OrderBody),
    (public_bodies.OrderLine, orders_bodies.OrderLineBody),
    (public_bodies.Rejection, orders_bodies.RejectionBody),
    (public_history_routes.OrderMove, history_api.HistoryLineBody),
    (public_history_routes.OrderHistory, history_api.HistoryBody),
    (public_history_routes.Discrepancy, discrepancies_api.DiscrepancyBody),
    (public_history_routes.DiscrepancyPage, discrepancies_api.DiscrepancyPageBody),
    (public_history_routes.ComparisonRound, discrepancies_api.ComparisonRoundBody),
    (public_history_routes.OrderSide, discrepancies_api.OrderSideBody),
    (public_history_routes.LedgerSide, discrepancies_api.LedgerSideBody),
    (public_history_routes.Refund, refunds_api.MadeRefundBody),
    (public_history_routes.RefundLine, refunds_api.MadeRefundLineBody),
    (public_ledger_routes.Account, ledger_bodies.AccountBody),
    (public_ledger_routes.AccountPage, ledger_bodies.AccountsBody),
    (public_ledger_routes.Hold, ledger_bodies.HoldBody),
    (public_ledger_routes.Posting, ledger_bodies.PostingBody),
    (public_ledger_routes.Record, ledger_bodies.RecordBody),
    (public_ledger_routes.ConsistencyProof, book_proofs.ConsistencyProof),
    (public_bodies.RefundOrder, orders_bodies.RefundBody),
    (public_bodies.RefundedLine, orders_bodies.RefundLineBody),
]


def fields_of(body: type) -> dict[str, bool]:
    """Tell a body's fields and whether each is required."""
    return {field.encode_name: field.required for field in msgspec.structs.fields(body)}


@pytest.mark.parametrize(("documented", "real"), PAIRS, ids=lambda body: body.__name__)
def test_a_documented_body_has_the_fields_of_the_real_one(documented: type, real: type) -> None:
    assert fields_of(documented) == fields_of(real)


def test_an_order_has_the_documented_states() -> None:
    assert set(get_args(public_bodies.OrderState)) == {state.value for state in OrderState}


def test_a_hold_has_the_documented_states_and_an_account_the_documented_types() -> None:
    assert set(get_args(public_ledger_routes.HoldState)) == {state.value for state in HoldState}
    assert set(get_args(public_ledger_routes.AccountType)) == {account_type.value for account_type in AccountType}
