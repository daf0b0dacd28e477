"""What the API's description says about every route: the bearer token, and problems as answers."""

from collections.abc import Mapping
from dataclasses import dataclass

from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin, YamlRenderPlugin
from litestar.openapi.spec import Components, OpenAPIType, Operation, Parameter, Schema, SecurityScheme
from litestar.plugins import ReceiveRoutePlugin
from litestar.router import Router
from litestar.routes import BaseRoute, HTTPRoute

from services.runtime.http_auth import PUBLIC, PUBLIC_OPTION
from services.runtime.http_errors import PROBLEM_MEDIA_TYPE, Problem
from services.runtime.idempotency import HEADER, KEY_CHARACTERS_MAX

BEARER = "bearer"
"""The security scheme's name in the description."""

SCHEMA_PATH = "/schema"
"""Where the description is served, as JSON: pages that draw it load scripts from elsewhere, next to people's tokens."""

API_VERSION = "1.0.0"
"""Of all descriptions: the paths say v1, and what is added is optional."""

TOKEN_REFUSALS = (
    "token_missing",
    "token_malformed",
    "token_forged",
    "token_wrong_issuer",
    "token_wrong_audience",
    "token_not_yet_valid",
    "token_expired",
    "token_revoked",
)
"""The reasons for which a token isn't good."""

_ANY_ROUTE = {400: "validation_failed", 500: "internal_error", 503: "Try again after Retry-After"}
_PROTECTED_ROUTE = {401: ", ".join(TOKEN_REFUSALS), 403: "role_required, user_required"}
_ROUTE_WITH_BODY = {400: "validation_failed, malformed_json", 413: "body_too_large", 415: "unsupported_media_type"}


def openapi_config(*, title: str, description: str | None) -> OpenAPIConfig:
    """Describe the API at `/schema`, `/schema/openapi.json` and `/schema/openapi.yaml`."""
    bearer = SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")
    return OpenAPIConfig(
        title=title,
        version=API_VERSION,
        description=description,
        use_handler_docstrings=True,
        components=Components(security_schemes={BEARER: bearer}),
        render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"]), YamlRenderPlugin()],
        openapi_router=Router(SCHEMA_PATH, route_handlers=[], opt=PUBLIC, include_in_schema=False),
    )


def problem_responses(refusals: Mapping[int, str]) -> dict[int, ResponseSpec]:
    """Describe refusals of one route beside those that all routes have: what each status means there."""
    return {
        status: ResponseSpec(Problem, generate_examples=False, description=text, media_type=PROBLEM_MEDIA_TYPE)
        for status, text in refusals.items()
    }


@dataclass
class DescribedOperation(Operation):
    """An operation whose Idempotency-Key is shown as required.

    To the framework the header may be absent: what it says of an absent one isn't what we say.
    """

    def __post_init__(self) -> None:
        """Correct what was described."""
        for parameter in self.parameters or ():
            if isinstance(parameter, Parameter) and parameter.name == HEADER:
                parameter.required = True
                parameter.schema = Schema(type=OpenAPIType.STRING, min_length=1, max_length=KEY_CHARACTERS_MAX)


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
        handler.operation_class = DescribedOperation
        if "data" in handler.parsed_fn_signature.parameters:
            answers |= _ROUTE_WITH_BODY
        handler.responses = {**problem_responses(answers), **(handler.responses or {})}
