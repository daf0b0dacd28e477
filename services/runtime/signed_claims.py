"""What every kind of JSON Web Token has to pass: form, algorithm, key, signature, times.

Whose token it is, and what it is good for, is decided by the two that stand on this: `jwt.py` for access tokens of our
own gateway, and the gateway's verifier of other issuers' ID tokens.

Sources: RFC 7519 (JWT), RFC 8725 (best current practice: an allow-list of algorithms, never the token's own word; the
token's kind is checked).
"""

import binascii
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from services.runtime.errors import UnauthenticatedError

TOKEN_BYTES_MAX: Final = 8192
"""A bound on what an unknown caller makes us parse; ours are below 1 KiB, and proxies bound headers at 8 KiB too."""

LEEWAY_SECONDS: Final = 30
"""How far clocks of two machines may differ."""

PublicKey = RSAKey | ECKey | OKPKey
"""What can check a signature; a shared secret never does."""


class PublicKeys(Protocol):
    """Where the issuer's public keys are found."""

    async def find(self, key_id: str) -> PublicKey | None:
        """Return the key with this id, or None when the issuer has none.

        Raises:
            UnavailableError: The keys can't be had now.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules:
    """What is asked of the signature and of the header, whatever they say of themselves."""

    algorithms: Collection[str]
    """The only ones; neither `none` nor those of shared secrets belong here."""
    types: Collection[str | None]
    """What `typ` may be, in lower case; None where it may be left out."""
    kind: str
    """The kind of token, in words."""


def parsed(token: str) -> jws.CompactSignature:
    """Take a token apart; nothing in it can be believed yet.

    Raises:
        UnauthenticatedError: token_malformed.
    """
    if len(token) > TOKEN_BYTES_MAX or not token.isascii():
        raise malformed(f"A token is ASCII and at most {TOKEN_BYTES_MAX} bytes long.")
    try:
        return jws.extract_compact(token.encode())
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as error:
        raise malformed("The token isn't a JSON Web Token.") from error


async def genuine_claims(signature: jws.CompactSignature, keys: PublicKeys, rules: TokenRules) -> dict[str, Any]:
    """Return the claims of a token that one of these keys has signed as the rules want it.

    Raises:
        UnauthenticatedError: token_malformed or token_forged.
        UnavailableError: The issuer's keys can't be had now.
    """
    header = signature.headers()
    algorithm = header.get("alg")
    if algorithm not in rules.algorithms:
        raise forged(f"The token must be signed with {' or '.join(sorted(rules.algorithms))}.")
    typ = header.get("typ")
    if (typ if typ is None else str(typ).lower()) not in rules.types or "crit" in header:
        raise malformed(f"The token isn't {rules.kind}.")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise malformed("The token names no key.")
    key = await keys.find(key_id)
    if key is None:
        raise forged("The token is signed with an unknown key.")
    try:
        key.check_alg(str(algorithm))
        genuine = jws.validate_compact(signature, key, algorithms=[str(algorithm)])
    except (JoseError, ValueError, TypeError) as error:
        raise forged("The token's signature can't be checked.") from error
    if not genuine:
        raise forged("The token's signature is wrong.")
    return claims_of(signature)


def claims_of(signature: jws.CompactSignature) -> dict[str, Any]:
    """Read what a token says; only `genuine_claims` tells whether it is true.

    Raises:
        UnauthenticatedError: token_malformed.
    """
    try:
        claims = json.loads(signature.payload or b"")
    except (ValueError, RecursionError) as error:
        raise malformed("The token's claims aren't JSON.") from error
    if not isinstance(claims, dict):
        raise malformed("The token's claims aren't a JSON object.")
    return claims


def check_times(claims: Mapping[str, Any], now: datetime) -> datetime:
    """Check `exp`, `iat` and, where it is there, `nbf`; return when the token ends.

    Raises:
        UnauthenticatedError: token_malformed, token_expired or token_not_yet_valid.
    """
    leeway = timedelta(seconds=LEEWAY_SECONDS)
    expires_at = instant(claims, "exp")
    if now >= expires_at + leeway:
        raise UnauthenticatedError("The token is expired.", reason="token_expired")
    starts = [instant(claims, "iat")] + ([instant(claims, "nbf")] if "nbf" in claims else [])
    if now + leeway < max(starts):
        raise UnauthenticatedError("The token isn't valid yet.", reason="token_not_yet_valid")
    return expires_at


def audiences_of(claims: Mapping[str, Any]) -> list[str]:
    """Read `aud`, which is a text or a list of them.

    Raises:
        UnauthenticatedError: token_malformed.
    """
    claimed = claims.get("aud")
    audiences = [claimed] if isinstance(claimed, str) else claimed
    if not isinstance(audiences, list) or not all(isinstance(audience, str) for audience in audiences):
        raise malformed("The token's `aud` is missing or isn't text.")
    return audiences


def text(claims: Mapping[str, Any], name: str) -> str:
    """Read a claim that is a text.

    Raises:
        UnauthenticatedError: token_malformed.
    """
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise malformed(f"The token's `{name}` is missing or isn't text.")
    return value


def instant(claims: Mapping[str, Any], name: str) -> datetime:
    """Read a claim that is a time.

    Raises:
        UnauthenticatedError: token_malformed.
    """
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise malformed(f"The token's `{name}` is missing or isn't a number.")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise malformed(f"The token's `{name}` isn't an instant.") from error


def malformed(message: str) -> UnauthenticatedError:
    """Make the error of a token that has the wrong form."""
    return UnauthenticatedError(message, reason="token_malformed")


def forged(message: str) -> UnauthenticatedError:
    """Make the error of a token that its issuer has not signed."""
    return UnauthenticatedError(message, reason="token_forged")
