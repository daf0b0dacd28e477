"""A new password for who forgot the old one, with a token of one use."""

from typing import Annotated, Final

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from services.gateway.inbound.auth_api import SIGN_IN, TAGS, Email
from services.gateway.inbound.rate_limits import RATE_LIMITED, RateLimits
from services.gateway.inbound.sign_ins import account_name
from services.gateway.ports import Identities
from services.gateway.rate_policies import Quota, RatePolicy
from services.gateway.revocation import Revocations
from services.runtime.http_openapi import problem_responses

REQUESTS_MAX: Final = 5
"""Requests for one account in an hour: enough for who doesn't find the mail, and no flood of mails."""

REQUESTS: Final = RatePolicy(
    name="password-reset", route_class="auth", per="account", limit=REQUESTS_MAX, window_seconds=3600
)
"""Counted for accounts that are not there as well."""


class ForgottenPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose password was forgotten."""

    email: Email


class ResetRequestedBody(msgspec.Struct, frozen=True):
    """The same for each address, whether it has a user or not."""

    expires_in: int
    """Seconds that a token is good."""


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A password to set."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    """As it was given to the user; good for half an hour, and once."""
    password: Annotated[str, msgspec.Meta(min_length=8, max_length=256)]


def password_routes(*, identities: Identities, revocations: Revocations, limits: RateLimits) -> list[HTTPRouteHandler]:
    """Make the routes."""

    @post(
        "/auth/password-reset",
        operation_id="requestPasswordReset",
        tags=TAGS,
        opt=SIGN_IN,
        status_code=202,
        responses=problem_responses(RATE_LIMITED),
    )
    async def request_password_reset(data: JSONBody[ForgottenPassword]) -> ResetRequestedBody:
        """Have a token for a new password sent to the address, if it has a user; the answer doesn't tell."""
        await limits.take([Quota(policy=REQUESTS, caller=account_name(data.email))])
        return ResetRequestedBody(expires_in=await identities.request_password_reset(data.email))

    @post(
        "/auth/password-reset/confirm",
        operation_id="confirmPasswordReset",
        tags=TAGS,
        opt=SIGN_IN,
        status_code=204,
        responses=problem_responses({**RATE_LIMITED, 401: "reset_token_unknown: never given, used, or too old"}),
    )
    async def confirm_password_reset(data: JSONBody[NewPassword]) -> None:
        """Set a new password. All sessions and access tokens of the user end, and all webhook endpoints with them."""
        revoked = await identities.reset_password(
            token=data.token, password=data.password, tokens_expire_at=revocations.last_token_ends_at()
        )
        await revocations.share(revoked)

    return [request_password_reset, confirm_password_reset]
