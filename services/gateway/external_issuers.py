"""Other issuers whose people may come in: a company's own OpenID Connect provider, say.

They never take the gateway's place: what they sign is exchanged for the gateway's own tokens at the door, and no
service behind it knows of them.
"""

import ssl
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FilePath, field_validator, model_validator

from services.runtime.discovery import is_trustworthy

ISSUERS_MAX: Final = 16
"""Each of them has connections and keys of its own in each replica."""

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
"""Those of public keys: with a shared secret, whoever can check a token can make one."""

ExternalRole = Literal["buyer", "merchant", "treasury", "operator"]


def _trusted_url(url: str) -> str:
    if not is_trustworthy(url) or "?" in url or "#" in url:
        raise ValueError("must be an https URL (http only on this machine) without a query")
    return url


Url = Annotated[str, Field(max_length=255), AfterValidator(_trusted_url)]


class ExternalIssuer(BaseModel):
    """One issuer, and what is believed of what it says."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")
    """What hints of /readyz and logs call it."""
    issuer: Url
    """The exact `iss` of its tokens. Who has signed in is known by it and by `sub`: it can't be changed later."""
    audience: str = Field(min_length=1, max_length=255)
    """Our client id there: the `aud` of the ID tokens that are meant for us."""
    jwks_url: Url | None = None
    """Where its public keys are. None: as {issuer}/.well-known/openid-configuration says."""
    ca_file: FilePath | None = None
    """PEM of the authorities that vouch for its certificate. None: the well-known ones."""
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256",)
    """What its tokens may be signed with, whatever they say."""
    roles_claim: str = ""
    """The claim of the ID token, a text or a list of texts, that `roles` translates. Empty: everybody is a buyer."""
    roles: dict[str, ExternalRole] = {}
    """By what the claim may hold, the role that it gives; who has none of them is a buyer. Treasury and operator are
    given only where they are named here."""
    registers_unknown: bool = True
    """Whether who has no account gets one at the first sign-in."""
    token_age_seconds_max: int = Field(default=600, ge=30, le=3600)
    """How old a token may be: it can be used again until then, by whoever has it."""

    title: str = Field(default="", max_length=40)
    """What the console calls it, as in `Sign in with TITLE`. Empty: the console has no button for it."""
    scopes: str = Field(default="openid email", pattern=r"^openid( [!-~]+)*$")
    """What the console's button asks it for."""
    client_secret_file: FilePath | None = None
    """A file with our secret there, for the console's button. None: the client is a public one, by PKCE alone."""

    @field_validator("ca_file")
    @classmethod
    def _check_certificates(cls, file: Path | None) -> Path | None:
        if file is not None:
            try:
                ssl.create_default_context(cafile=file)
            except ssl.SSLError as error:
                raise ValueError("holds no certificates in PEM") from error
        return file

    @model_validator(mode="after")
    def _check_roles(self) -> "ExternalIssuer":
        if bool(self.roles) != bool(self.roles_claim):
            raise ValueError("roles and roles_claim belong together")
        return self


def distinct(issuers: tuple[ExternalIssuer, ...]) -> tuple[ExternalIssuer, ...]:
    """Let issuers pass that can be told apart.

    Raises:
        ValueError: Two have one name, or are the same one.
    """
    if len({issuer.name for issuer in issuers}) != len(issuers):
        raise ValueError("two issuers have the same name")
    if len({issuer.issuer for issuer in issuers}) != len(issuers):
        raise ValueError("an issuer is there twice")
    return issuers
