"""What the API's description says about every route: the bearer token, and problems as answers."""

from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin, YamlRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.plugins import ReceiveRoutePlugin
from litestar.router import Router
from litestar.routes import BaseRoute, HTTPRoute

from services.runtime.http_auth import PUBLIC, PUBLIC_OPTION
from services.runtime.http_errors import PROBLEM_MEDIA_TYPE, Problem

BEARER = "bearer"
"""The security scheme's name in the description."""

SCHEMA_PATH = "/schema"
"""Where the description is served, as JSON: pages that draw it load scripts from elsewhere, next to people's tokens."""

_ANY_ROUTE = {400: "The request can't be right", 500: "A failure on our side", 503: "Try again after Retry-After"}
_PROTECTED_ROUTE = {401: "No token, or not a good one", 403: "The token may not do this"}
_ROUTE_WITH_BODY = {413: "The body is too large", 415: "The body has another form than this route reads"}


def openapi_config(*, title: str, version: str, description: str | None) -> OpenAPIConfig:
    """Describe the API at `/schema`, `/schema/openapi.json` and `/schema/openapi.yaml`."""
    bearer = SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")
    return OpenAPIConfig(
        title=title,
        version=version,
        description=description,
        use_handler_docstrings=True,
        components=Components(security_schemes={BEARER: bearer}),
        render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"]), YamlRenderPlugin()],
        openapi_router=Router(SCHEMA_PATH, route_handlers=[], opt=PUBLIC, include_in_schema=False),
    )


class DescribedRoutesPlugin(ReceiveRoutePlugin):
    """Adds what all routes have in common to each route's description."""

    __slots__ = ("_authenticated",)

    def __init__(self, *, authenticated: bool) -> None:
        """Say whether routes that aren't public ask for a token."""
        self._authenticated = authenticated

    def receive_route(self, route: BaseRoute) -> None:
        """Complete the description of a route's handlers."""
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                self._describe(handler)

    def _describe(self, handler: HTTPRouteHandler) -> None:
        answers = dict(_ANY_ROUTE)
        if self._authenticated and not handler.opt.get(PUBLIC_OPTION):
            answers |= _PROTECTED_ROUTE
            handler.security = [{BEARER: []}]
        if "data" in handler.parsed_fn_signature.parameters:
            answers |= _ROUTE_WITH_BODY
        problems = {
            status: ResponseSpec(Problem, generate_examples=False, description=text, media_type=PROBLEM_MEDIA_TYPE)
            for status, text in answers.items()
        }
        handler.responses = {**problems, **(handler.responses or {})}
