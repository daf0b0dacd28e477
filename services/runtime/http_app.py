"""An HTTP service: Litestar with what every one of ours has, so that a service brings only its routes.

Strict JSON bodies, bearer tokens, problems, `/healthz`, `/readyz`, `/metrics` (see `http_probes.py`), and the
description at `/schema`.
"""

from collections.abc import Sequence
from typing import Any

from litestar import Litestar
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.types import ControllerRouterHandler
from prometheus_client import CollectorRegistry

from services.runtime.health import Health
from services.runtime.http_auth import BearerAuthentication, provide_principal
from services.runtime.http_budget import BudgetEdge
from services.runtime.http_edge import HttpEdge
from services.runtime.http_errors import problem_details_plugin
from services.runtime.http_openapi import DescribedRoutesPlugin, openapi_config
from services.runtime.http_probes import health_routes, metrics_route
from services.runtime.http_request import StrictRequest
from services.runtime.idempotency import provide_idempotency_key
from services.runtime.jwt import TokenVerifier
from services.runtime.metrics import HttpMetrics, new_registry
from services.runtime.tracing import SpanRecorder

BODY_BYTES_MAX = 1024 * 1024
"""The largest body, unless a route has its own limit (`request_max_body_size`): an order of 1,000 lines is 90 KiB."""


def create_http_app(
    *,
    title: str,
    route_handlers: Sequence[ControllerRouterHandler],
    verifier: TokenVerifier | None,
    health: Health,
    registry: CollectorRegistry | None = None,
    recorder: SpanRecorder | None = None,
    description: str | None = None,
    body_bytes_max: int = BODY_BYTES_MAX,
    trusts_budgets: bool = True,
    probes_apart: bool = False,
    **litestar_options: Any,
) -> Litestar:
    """Make the application.

    A route asks for a token unless it is marked: `@get("/path", opt=PUBLIC)`. Handlers get what they name:
    `principal: Caller`, `idempotency_key: IdempotencyKey`, `data: JSONBody[T]` or `URLEncodedBody[T]`,
    `limit: FromQuery[int] = 50`, `sku: FromPath[str]` (Litestar warns about parameters without these marks).

    Args:
        title: The API's name.
        route_handlers: The service's own routes.
        verifier: Checks bearer tokens; without one, no route asks for any.
        health: What `/readyz` asks.
        registry: What `/metrics` shows, and where requests are counted; one for each service.
        recorder: Where requests are recorded as spans.
        description: What the API is for.
        body_bytes_max: The largest request body.
        trusts_budgets: Whether callers say how long they wait, as those of services behind the gateway do.
        probes_apart: Whether another port has `/metrics`, and tells what `/readyz` here leaves out.
        litestar_options: Anything else that Litestar takes, such as `lifespan`.
    """
    registry = registry or new_registry(title)
    authentication = [] if verifier is None else [DefineMiddleware(BearerAuthentication, verifier=verifier)]
    app = Litestar(
        [
            *route_handlers,
            *health_routes(health, tells_all=not probes_apart),
            *([] if probes_apart else [metrics_route(registry)]),
        ],
        dependencies=_own_dependencies(),
        logging_config=None,
        middleware=authentication,
        openapi_config=openapi_config(title=title, description=description),
        plugins=[problem_details_plugin(), DescribedRoutesPlugin(authenticated=verifier is not None)],
        request_class=StrictRequest,
        request_max_body_size=body_bytes_max,
        **litestar_options,
    )
    handler = BudgetEdge(app.asgi_handler) if trusts_budgets else app.asgi_handler
    app.asgi_handler = HttpEdge(handler, HttpMetrics(registry), recorder)
    return app


def _own_dependencies() -> dict[str, Provide]:
    return {
        "principal": Provide(provide_principal, sync_to_thread=False),
        "idempotency_key": Provide(provide_idempotency_key, sync_to_thread=False),
    }
