"""All doors of the console: its files, its session, what its page of operations shows, and money for trying out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from litestar.handlers import HTTPRouteHandler

from services.gateway.access_tokens import TokenIssuer
from services.gateway.external_issuers import ExternalIssuer
from services.gateway.inbound.client_address import Network
from services.gateway.inbound.console_external_sign_in import ConsoleIssuer, console_external_sign_in_routes
from services.gateway.inbound.console_files import Console, ConsoleSettings, SignInButton, console_file_routes
from services.gateway.inbound.console_session import SessionCookies, console_session_routes
from services.gateway.inbound.console_top_ups import TOP_UP_MINOR_MAX, console_top_up_routes
from services.gateway.inbound.external_sign_ins import ExternalSignIns
from services.gateway.inbound.proxy import Proxy
from services.gateway.inbound.sign_ins import SignIns
from services.gateway.ports import CodeIssuer, Identities
from services.gateway.revocation import Revocations
from services.money import exponents
from services.runtime.jwt import TokenVerifier


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleParts:
    """What the doors work with."""

    identities: Identities
    sign_ins: SignIns
    issuer: TokenIssuer
    revocations: Revocations
    tokens: TokenVerifier
    proxy: Proxy
    ledger_url: str
    trusted_proxies: Sequence[Network]
    external_issuers: Sequence[ExternalIssuer]
    codes: Mapping[str, CodeIssuer]
    external_sign_ins: ExternalSignIns
    demo_top_ups: bool
    trace_url: str


def console_routes(parts: ConsoleParts) -> list[HTTPRouteHandler]:
    """Make the routes."""
    asked = [issuer for issuer in parts.external_issuers if issuer.name in parts.codes]
    cookies = SessionCookies(parts.trusted_proxies)
    told = ConsoleSettings(
        top_up_minor_max=TOP_UP_MINOR_MAX if parts.demo_top_ups else 0,
        trace_url=parts.trace_url,
        exponents=exponents(),
        issuers=tuple(SignInButton(name=issuer.name, title=issuer.title) for issuer in asked),
    )
    top_ups = console_top_up_routes(proxy=parts.proxy, issuer=parts.issuer, ledger_url=parts.ledger_url)
    return [
        *console_file_routes(Console(told)),
        *console_session_routes(
            identities=parts.identities,
            sign_ins=parts.sign_ins,
            issuer=parts.issuer,
            revocations=parts.revocations,
            tokens=parts.tokens,
            cookies=cookies,
        ),
        *console_external_sign_in_routes(
            issuers={
                issuer.name: ConsoleIssuer(issuer=issuer.issuer, codes=parts.codes[issuer.name]) for issuer in asked
            },
            sign_ins=parts.external_sign_ins,
            cookies=cookies,
        ),
        *(top_ups if parts.demo_top_ups else ()),
    ]
