"""Describes the public routes that other services answer, so that a client can be written from this one document."""

from typing import Any

import msgspec
from litestar import Litestar
from litestar.openapi.spec import (
    OpenAPIHeader,
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
from services.gateway.inbound import public_refusals as refusals
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


RETRIED_STATUSES = {"429", "503"}
"""Answered with Retry-After."""

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
        problems=("400 instant_malformed", "400 unknown_asset"),
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
        problems=("400 cursor_malformed", "400 instant_malformed", "400 filter_malformed", "400 unknown_asset"),
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
            *refusals.COMMAND_REFUSALS,
            "422 account_not_open",
            "422 insufficient_funds",
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
        problems=(
            "400 statement_range_malformed",
            "400 statement_range_too_large",
            "400 unknown_asset",
            "404 account_not_open",
            "503 head_not_signed",
        ),
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
            "400 invalid_email",
            *refusals.COMMAND_REFUSALS,
            "400 effective_in_the_future",
            "400 instant_malformed",
            "403 role_required",
            "404 user_not_found",
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
        problems=(*refusals.PRODUCT_REFUSALS, "409 sku_taken"),
    ),
    PublicRoute(
        method="patch",
        path="/api/v1/products/{sku}",
        operation_id="changeProduct",
        tag="products",
        summary="Change a product; its merchant only.",
        body=bodies.ProductChange,
        answer=bodies.Product,
        problems=(*refusals.PRODUCT_REFUSALS, "403 forbidden", "404 product_not_found", "422 stock_changed"),
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
            "400 invalid_lines",
            "400 invalid_sku",
            "400 invalid_quantity",
            "400 duplicate_sku",
            "400 too_many_sellers",
            "400 currency_mismatch",
            "400 invalid_amount",
            "400 unknown_asset",
            "403 role_required",
            "409 request_in_flight",
            "422 unknown_sku",
            "422 out_of_stock",
            "422 total_changed",
            "422 insufficient_funds",
            "422 balance_overflow",
            *refusals.LEDGER_AWAY,
        ),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/orders",
        operation_id="listOrders",
        tag="orders",
        summary="The caller's orders, newest first.",
        query=(*parameters.PAGE, parameters.ORDER_STATE, parameters.ROLE),
        answer=bodies.OrderPage,
        problems=("400 cursor_malformed", "400 unknown_state"),
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
        problems=(*refusals.ORDER_REFUSALS, "422 hold_expired", "422 hold_closed"),
    ),
    PublicRoute(
        method="post",
        path="/api/v1/orders/{order_id}/cancel",
        operation_id="cancelOrder",
        tag="orders",
        summary="Cancel an order; after its capture this is a full refund. Its buyer only.",
        answer=bodies.Order,
        idempotent_by_key=True,
        problems=(*refusals.ORDER_REFUSALS, *refusals.REFUND_REFUSALS),
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
        problems=(
            "400 invalid_lines",
            "400 unknown_line",
            "400 duplicate_line",
            "400 invalid_quantity",
            "400 invalid_amount",
            "400 unknown_asset",
            "400 currency_mismatch",
            *refusals.ORDER_REFUSALS,
            "422 exceeds_captured",
            *refusals.REFUND_REFUSALS,
        ),
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
    for item in paths.values():
        _describe_retries(item)
    _, components = msgspec.json.schema_components(
        (*bodies.BODIES, *LEDGER_BODIES, *HISTORY_BODIES, *MERCHANT_BODIES), ref_template=REFERENCE
    )
    schemas = dict(document.components.schemas or {})
    document.components.schemas = {**schemas, **{name: _JsonSchema(content) for name, content in components.items()}}


def _describe_retries(item: PathItem) -> None:
    """Say of each answer that asks to come back that it says when."""
    header = OpenAPIHeader(
        name="", param_in="header", schema=_JsonSchema({"type": "integer", "minimum": 1}), description="In seconds."
    )
    for operation in (item.get, item.post, item.put, item.patch, item.delete):
        responses = (operation.responses if operation is not None else None) or {}
        for status in RETRIED_STATUSES & responses.keys():
            response = responses[status]
            if isinstance(response, OpenAPIResponse):
                response.headers = {**(response.headers or {}), "Retry-After": header}


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
    schemas = {name: _JsonSchema(msgspec.json.schema(_path_type(route, name))) for name in names_in_path}
    in_path = [Parameter(name=name, param_in="path", required=True, schema=each) for name, each in schemas.items()]
    in_query = [_query_parameter(parameter) for parameter in route.query]
    key = Parameter(
        name=IDEMPOTENCY_KEY,
        param_in="header",
        required=True,
        schema=_JsonSchema({"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"}),
        description=f"Repeating a call with its key has its effect once; the answer then has {REPLAYED_HEADER}: true. "
        "So has a refusal with 422, which is the first one again: take another key to try anew. A key is its user's, "
        "and known for 30 days.",
    )
    return [*in_path, *in_query, *([key] if route.idempotent_by_key else [])]


def _path_type(route: PublicRoute, name: str) -> Any:
    return route.path_types.get(name, parameters.Id if name.endswith("_id") else str)


def _query_parameter(parameter: QueryParameter) -> Parameter:
    return Parameter(
        name=parameter.name,
        param_in="query",
        required=parameter.required,
        schema=_JsonSchema(msgspec.json.schema(parameter.type)),
        description=parameter.description,
    )


def _responses(route: PublicRoute) -> dict[str, OpenAPIResponse | Reference]:
    problem_schema = Reference(ref=REFERENCE.format(name="Problem"))
    refused: dict[str, OpenAPIResponse | Reference] = {
        status: OpenAPIResponse(
            description=", ".join(words),
            content={PROBLEM_MEDIA_TYPE: OpenAPIMediaType(schema=problem_schema)},
            headers=_replayed_headers(route) if status == "422" else None,
        )
        for status, words in sorted(refusals.reasons_of(route).items())
    }
    answers = [answer for answer in (route.answer, route.other_answer) if answer is not None]
    content = _content(*answers) if answers else None
    answer = OpenAPIResponse(description=route.summary, content=content, headers=_replayed_headers(route))
    rehearsed = OpenAPIResponse(description="A dry run: what would happen.", content=content)
    return {**({"200": rehearsed} if route.has_dry_run else {}), str(route.status): answer, **refused}


def _replayed_headers(route: PublicRoute) -> dict[str, OpenAPIHeader | Reference] | None:
    if not route.idempotent_by_key:
        return None
    schema = _JsonSchema({"enum": ["true"]})
    description = "This was answered to an earlier call with the same key; absent on a first answer."
    return {REPLAYED_HEADER: OpenAPIHeader(name="", param_in="header", schema=schema, description=description)}


def _content(*types: type) -> dict[str, OpenAPIMediaType]:
    references: list[Schema | Reference] = [Reference(ref=REFERENCE.format(name=body.__name__)) for body in types]
    schema = references[0] if len(references) == 1 else Schema(one_of=references)
    return {"application/json": OpenAPIMediaType(schema=schema)}
