"""Describes the public routes that other services answer, so that a client can be written from this one document."""

from typing import Any

import msgspec
from litestar import Litestar
from litestar.openapi.spec import (
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Parameter,
    PathItem,
    Reference,
    RequestBody,
    Schema,
)

from services.gateway.inbound import public_bodies as bodies
from services.gateway.inbound import public_parameters as parameters
from services.gateway.inbound.deposits_api import DepositBody
from services.gateway.inbound.public_history_routes import HISTORY_BODIES, HISTORY_ROUTES
from services.gateway.inbound.public_ledger_routes import LEDGER_BODIES, LEDGER_ROUTES
from services.gateway.inbound.public_merchant_routes import MERCHANT_BODIES, MERCHANT_ROUTES
from services.gateway.inbound.public_parameters import QueryParameter
from services.gateway.inbound.public_route import PublicRoute
from services.runtime.http_errors import PROBLEM_MEDIA_TYPE
from services.runtime.http_openapi import BEARER
from services.runtime.idempotency import HEADER as IDEMPOTENCY_KEY
from services.runtime.idempotency import REPLAYED_HEADER

REFERENCE = "#/components/schemas/{name}"
"""Where the description keeps its types."""


UNNAMED_REFUSALS = {"400": "The request can't be right.", "403": "The token may not do this."}
"""Statuses that each route has for many reasons of form."""

_LEDGER_AWAY = ("503 ledger_unavailable", "503 ledger_busy", "503 deadline_exceeded")
"""What calls that need the ledger are answered while it is gone or slow, with Retry-After."""

_ORDER_REFUSALS = (
    "404 order_not_found",
    "422 illegal_transition",
    "409 request_in_flight",
    "422 idempotency_key_reused",
    *_LEDGER_AWAY,
)

ROUTES = (
    PublicRoute(
        method="get",
        path="/api/v1/wallet/balance",
        operation_id="getBalance",
        tag="wallet",
        summary="The caller's balance in one currency; what was settled at an instant when one is named.",
        query=(parameters.CURRENCY, *parameters.SETTLED_AT),
        answer=bodies.Balance,
        other_answer=bodies.PostedBalance,
        problems=("400 instant_malformed",),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/wallet/statement",
        operation_id="listStatement",
        tag="wallet",
        summary="The caller's postings in one currency.",
        query=(
            parameters.CURRENCY,
            *parameters.PAGE,
            *parameters.RECORDED,
            parameters.RECORD_KINDS,
            parameters.DIRECTION,
            parameters.ORDER,
        ),
        answer=bodies.StatementPage,
        problems=("400 cursor_malformed", "400 instant_malformed"),
    ),
    PublicRoute(
        method="post",
        path="/api/v1/wallet/withdrawals",
        operation_id="withdraw",
        has_dry_run=True,
        tag="wallet",
        summary="Take money out of the caller's wallet.",
        body=bodies.Withdrawal,
        answer=bodies.Deposited,
        status=201,
        idempotent_by_key=True,
        problems=(
            "400 invalid_amount",
            "400 unknown_asset",
            "422 account_not_open",
            "422 insufficient_funds",
            "422 idempotency_key_reused",
        ),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/wallet/statement/proof",
        operation_id="getStatementProof",
        tag="wallet",
        summary="The caller's postings in one currency as a file that anybody can check offline, up to 1,000 rows.",
        query=(parameters.CURRENCY, *parameters.ACCOUNT_ROWS),
        answer=bodies.StatementFile,
        problems=("400 statement_range_malformed", "400 statement_range_too_large", "404 account_not_open"),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/ledger/head",
        operation_id="getSignedHead",
        tag="proof",
        summary="Where the ledger's book stood, signed: keep it, and no record up to there can change unseen.",
        answer=bodies.SignedHead,
        needs_token=False,
        problems=("503 head_not_signed",),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/ledger/keys",
        operation_id="listSigningKeys",
        tag="proof",
        summary="The public keys of signed heads and statements, in the order in which they came into use.",
        answer=bodies.SigningKeys,
        needs_token=False,
    ),
    PublicRoute(
        method="post",
        path="/api/v1/wallet/deposits",
        operation_id="deposit",
        has_dry_run=True,
        tag="wallet",
        summary="Bring money in for a user; role treasury.",
        description="Nobody verifies an address at registration: `email` names whoever registered it first, who need "
        "not be its owner. Where you know the user, name `user_id`; else look at a dry run first: it says who has the "
        "address, and since when.",
        body=DepositBody,
        answer=bodies.DepositedTo,
        status=201,
        idempotent_by_key=True,
        problems=(
            "400 invalid_recipient",
            "403 role_required",
            "404 user_not_found",
            "422 idempotency_key_reused",
        ),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/products",
        operation_id="listProducts",
        tag="products",
        summary="What is for sale.",
        query=parameters.PAGE,
        answer=bodies.ProductPage,
        problems=("400 cursor_malformed",),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/products/{sku}",
        operation_id="getProduct",
        tag="products",
        summary="One product.",
        answer=bodies.Product,
        problems=("404 product_not_found",),
    ),
    PublicRoute(
        method="post",
        path="/api/v1/products",
        operation_id="addProduct",
        tag="products",
        summary="Offer a product; role merchant.",
        body=bodies.NewProduct,
        answer=bodies.Product,
        status=201,
        problems=("403 role_required", "409 sku_taken"),
    ),
    PublicRoute(
        method="patch",
        path="/api/v1/products/{sku}",
        operation_id="changeProduct",
        tag="products",
        summary="Change a product; its merchant only.",
        body=bodies.ProductChange,
        answer=bodies.Product,
        problems=("403 role_required", "404 product_not_found", "422 stock_changed"),
    ),
    PublicRoute(
        method="post",
        path="/api/v1/orders",
        operation_id="placeOrder",
        tag="orders",
        summary="Order and pay: the money is held, and captured at once or on confirmation.",
        body=bodies.PlaceOrder,
        answer=bodies.Order,
        status=201,
        idempotent_by_key=True,
        problems=(
            "400 duplicate_sku",
            "400 currency_mismatch",
            "400 unknown_asset",
            "422 unknown_sku",
            "422 out_of_stock",
            "422 total_changed",
            "422 insufficient_funds",
            "409 request_in_flight",
            "422 idempotency_key_reused",
            *_LEDGER_AWAY,
        ),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/orders",
        operation_id="listOrders",
        tag="orders",
        summary="The caller's orders, newest first.",
        query=(*parameters.PAGE, parameters.STATE, parameters.ROLE),
        answer=bodies.OrderPage,
        problems=("400 cursor_malformed",),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/orders/{order_id}",
        operation_id="getOrder",
        tag="orders",
        summary="One order: for its buyer, its sellers and operators.",
        answer=bodies.Order,
        problems=("404 order_not_found",),
    ),
    PublicRoute(
        method="post",
        path="/api/v1/orders/{order_id}/confirm",
        operation_id="confirmOrder",
        tag="orders",
        summary="Capture an order with manual capture; its buyer or a seller of it.",
        answer=bodies.Order,
        idempotent_by_key=True,
        problems=_ORDER_REFUSALS,
    ),
    PublicRoute(
        method="post",
        path="/api/v1/orders/{order_id}/cancel",
        operation_id="cancelOrder",
        tag="orders",
        summary="Cancel an order; after its capture this is a full refund.",
        answer=bodies.Order,
        idempotent_by_key=True,
        problems=_ORDER_REFUSALS,
    ),
    PublicRoute(
        method="post",
        path="/api/v1/orders/{order_id}/refunds",
        operation_id="refundOrder",
        tag="orders",
        summary="Give money back; a seller of those lines, or an operator.",
        body=bodies.RefundOrder,
        answer=bodies.Order,
        status=201,
        idempotent_by_key=True,
        problems=(*_ORDER_REFUSALS, "422 exceeds_captured"),
    ),
    *LEDGER_ROUTES,
    *HISTORY_ROUTES,
    *MERCHANT_ROUTES,
)
"""The public routes that orders and the ledger answer."""


class _JsonSchema(Schema):
    """A type as msgspec describes it."""

    def __init__(self, content: dict[str, Any]) -> None:
        super().__init__()
        self._content = content

    def to_schema(self) -> dict[str, Any]:
        """Return the type as it is."""
        return self._content


def describe_public_api(app: Litestar) -> None:
    """Add the proxied routes to the description at /schema."""
    document = app.openapi_schema
    paths = document.paths if document.paths is not None else {}
    for route in ROUTES:
        path_item = paths.setdefault(route.path, PathItem())
        setattr(path_item, route.method, _operation(route))
    document.paths = paths
    _, components = msgspec.json.schema_components(
        (*bodies.BODIES, *LEDGER_BODIES, *HISTORY_BODIES, *MERCHANT_BODIES), ref_template=REFERENCE
    )
    schemas = dict(document.components.schemas or {})
    document.components.schemas = {**schemas, **{name: _JsonSchema(content) for name, content in components.items()}}


def _operation(route: PublicRoute) -> Operation:
    return Operation(
        operation_id=route.operation_id,
        tags=[route.tag],
        summary=route.summary,
        description=route.description,
        parameters=list(_parameters(route)),
        request_body=None if route.body is None else RequestBody(content=_content(route.body), required=True),
        responses=_responses(route),
        security=[{BEARER: []}] if route.needs_token else [],
    )


def _parameters(route: PublicRoute) -> list[Parameter | Reference]:
    names_in_path = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    schemas = {name: _JsonSchema(msgspec.json.schema(route.path_types.get(name, str))) for name in names_in_path}
    in_path = [Parameter(name=name, param_in="path", required=True, schema=each) for name, each in schemas.items()]
    in_query = [_query_parameter(parameter) for parameter in route.query]
    key = Parameter(
        name=IDEMPOTENCY_KEY,
        param_in="header",
        required=True,
        schema=_JsonSchema({"type": "string", "minLength": 1, "maxLength": 128}),
        description=f"Repeating a call with its key has its effect once; the answer then has {REPLAYED_HEADER}: true.",
    )
    return [*in_path, *in_query, *([key] if route.idempotent_by_key else [])]


def _query_parameter(parameter: QueryParameter) -> Parameter:
    return Parameter(
        name=parameter.name,
        param_in="query",
        required=parameter.required,
        schema=_JsonSchema(msgspec.json.schema(parameter.type)),
        description=parameter.description,
    )


def _responses(route: PublicRoute) -> dict[str, OpenAPIResponse | Reference]:
    reasons: dict[str, list[str]] = {"400": [], "500": ["internal_error"], "503": ["upstream_unavailable"]}
    reasons |= {"429": ["rate_limited"], "504": ["upstream_timeout", "deadline_exceeded"]}
    if route.needs_token:
        reasons |= {"401": ["token_missing", "token_expired", "token_revoked"], "403": []}
    if route.body is not None:
        reasons |= {"413": ["body_too_large"], "415": ["unsupported_media_type"]}
    for problem in route.problems:
        status, _, reason = problem.partition(" ")
        reasons.setdefault(status, []).append(reason)
    problem_schema = Reference(ref=REFERENCE.format(name="Problem"))
    refusals: dict[str, OpenAPIResponse | Reference] = {
        status: OpenAPIResponse(
            description=", ".join(words) or UNNAMED_REFUSALS[status],
            content={PROBLEM_MEDIA_TYPE: OpenAPIMediaType(schema=problem_schema)},
        )
        for status, words in sorted(reasons.items())
    }
    answers = [answer for answer in (route.answer, route.other_answer) if answer is not None]
    content = _content(*answers) if answers else None
    answer = OpenAPIResponse(description=route.summary, content=content)
    rehearsed = OpenAPIResponse(description="A dry run: what would happen.", content=content)
    return {**({"200": rehearsed} if route.has_dry_run else {}), str(route.status): answer, **refusals}


def _content(*types: type) -> dict[str, OpenAPIMediaType]:
    references: list[Schema | Reference] = [Reference(ref=REFERENCE.format(name=body.__name__)) for body in types]
    schema = references[0] if len(references) == 1 else Schema(one_of=references)
    return {"application/json": OpenAPIMediaType(schema=schema)}
