"""The document of private keys, as the gateway reads it: private parts are made, kept and dropped here alone."""

from collections.abc import Mapping
from typing import Any

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tradeflow_operator.reconcile.signing_keys import KeyPhase, SigningKey, SigningKeys

ALGORITHMS: Mapping[str, type[RSAKey | ECKey | OKPKey]] = {"RS256": RSAKey, "ES256": ECKey, "EdDSA": OKPKey}
"""What can be signed with, and the keys that it takes."""

RSA_BITS = 2048
"""NIST SP 800-131A: enough beyond 2030, and a signature stays near 1 ms. The services believe no shorter key."""

_CURVES = {"ES256": "P-256", "EdDSA": "Ed25519"}

_UNPUBLISHED = frozenset({"use", "alg", "kid", "key_ops"})
"""What `SigningKey.public` leaves out: it is written anew."""


class KeyDocumentError(Exception):
    """It holds something that isn't a set of private keys; the message tells no secret."""


class _Document(msgspec.Struct):
    keys: list[dict[str, Any]]


def read_document(content: bytes) -> SigningKeys:
    """Read what may be known of the keys.

    Raises:
        KeyDocumentError: See there.
    """
    return SigningKeys(keys=tuple(_key_of(jwk) for jwk in _decoded(content).keys))


def written_document(
    before: bytes | None, keys: SigningKeys, *, new_key: KeyPhase | None, algorithm: str, made_at: int
) -> bytes:
    """Write the keys that stay, with their private parts from before, and a new one if that is asked for.

    Raises:
        KeyDocumentError: A key that is to stay isn't in what was there, or none would be left that signs.
    """
    known = {jwk["kid"]: jwk for jwk in map(_with_kid, _decoded(before).keys)} if before else {}
    if missing := keys.kids - known.keys():
        raise KeyDocumentError(f"the keys {', '.join(sorted(missing))} are gone")
    kept = [
        {**known[key.kid], "status": key.phase.value, "iat": key.made_at, "status_since": key.since}
        for key in keys.keys
    ]
    made = [_made(algorithm, new_key, made_at)] if new_key else []
    if not any(jwk["status"] == KeyPhase.ACTIVE.value for jwk in (*kept, *made)):
        raise KeyDocumentError("no key would be left that signs")
    return msgspec.json.format(msgspec.json.encode({"keys": [*kept, *made]}), indent=1)


def _made(algorithm: str, phase: KeyPhase, made_at: int) -> dict[str, Any]:
    key = (
        RSAKey.generate_key(RSA_BITS)
        if algorithm == "RS256"
        else ALGORITHMS[algorithm].generate_key(_CURVES[algorithm])  # type: ignore[arg-type] # a curve's name, for both
    )
    members: dict[str, Any] = dict(key.as_dict(private=True))
    ours = {"status": phase.value, "iat": made_at, "status_since": made_at}
    return members | {"kid": key.thumbprint(), "use": "sig", "alg": algorithm} | ours


def _decoded(content: bytes) -> _Document:
    try:
        return msgspec.json.decode(content, type=_Document)
    except msgspec.MsgspecError as error:
        raise KeyDocumentError("it is no JWK set") from error


def _key_of(jwk: Mapping[str, Any]) -> SigningKey:
    key = _imported(jwk)
    thumbprint = key.thumbprint()
    if jwk.get("kid", thumbprint) != thumbprint:
        raise KeyDocumentError("a kid isn't its key's RFC 7638 thumbprint")
    made_at = jwk.get("iat", 0)
    try:
        phase = KeyPhase(jwk.get("status", KeyPhase.ACTIVE.value))
    except ValueError as error:
        raise KeyDocumentError("a key has an unknown status") from error
    if not isinstance(made_at, int) or not isinstance(jwk.get("status_since", 0), int):
        raise KeyDocumentError("a key has a malformed iat or status_since")
    public = {name: str(value) for name, value in key.as_dict(private=False).items() if name not in _UNPUBLISHED}
    return SigningKey(
        kid=thumbprint,
        algorithm=_algorithm_of(key),
        phase=phase,
        made_at=made_at,
        since=jwk.get("status_since", made_at),
        public=public,
    )


def _imported(jwk: Mapping[str, Any]) -> RSAKey | ECKey | OKPKey:
    """Read the public half: checking a private RSA key takes a tenth of a second, in which no lease is renewed."""
    kinds = {"RSA": (RSAKey, ("n", "e")), "EC": (ECKey, ("crv", "x", "y")), "OKP": (OKPKey, ("crv", "x"))}
    kind, members = kinds.get(str(jwk.get("kty")), (None, ()))
    if kind is None:
        raise KeyDocumentError("a key is of an unknown kind")
    if not isinstance(jwk.get("d"), str):
        raise KeyDocumentError("a key is without its private part")
    try:
        key: RSAKey | ECKey | OKPKey = kind.import_key({name: jwk[name] for name in ("kty", *members)})  # type: ignore[attr-defined]
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise KeyDocumentError("a key can't be read") from error
    return key


def _algorithm_of(key: RSAKey | ECKey | OKPKey) -> str:
    return next(name for name, kind in ALGORITHMS.items() if isinstance(key, kind))


def _with_kid(jwk: dict[str, Any]) -> dict[str, Any]:
    return jwk if "kid" in jwk else {**jwk, "kid": _imported(jwk).thumbprint()}
