"""What the gateway refuses to start with."""

import json
from typing import Any

import pytest

from services.gateway.settings import GatewaySettings
from services.runtime.settings import load_settings

REQUIRED = {
    "BROKER_URL": "sqlite:////data/broker.db",
    "REDIS_URL": "redis://localhost:6379/0",
    "ISSUER": "https://tradeflow.test",
    "KEYS_FOLDER": "/keys",
    "ORDERS_HTTP_URL": "http://orders:8081",
    "LEDGER_HTTP_URL": "http://ledger:8082",
    "ORDERS_GRPC_TARGET": "orders:9091",
    "LEDGER_GRPC_TARGET": "ledger:9090",
    "CLIENTS": json.dumps({"orders": "0" * 64}),
}


def from_environment(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> GatewaySettings:
    for name, value in {**REQUIRED, **changes}.items():
        if value is not None:
            monkeypatch.setenv(f"TRADEFLOW_GATEWAY_{name}", value)
    return load_settings(GatewaySettings)


def test_the_required_settings_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = from_environment(monkeypatch)

    assert settings.http_port == 8080
    assert settings.access_token_seconds == 600


@pytest.mark.parametrize("name", list(REQUIRED))
def test_a_missing_setting_names_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        from_environment(monkeypatch, **{name: None})

    assert f"TRADEFLOW_GATEWAY_{name} is missing" in capsys.readouterr().err


def a_limit(**changes: Any) -> dict[str, Any]:
    return {"name": "reads", "route_class": "read", "per": "user", "limit": 1, "window_seconds": 1, **changes}


def an_issuer(**changes: Any) -> dict[str, Any]:
    return {"name": "staff", "issuer": "https://id.example", "audience": "tradeflow", **changes}


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("CLIENTS", json.dumps({"gateway": "0" * 64}), "orders trusts that name"),
        ("CLIENTS", json.dumps({"orders": "plain secret"}), "not a SHA-256"),
        ("REDIS_URL", "memcached://x", "supported are redis://"),
        ("ACCESS_TOKEN_SECONDS", "3600", "less than or equal to 600"),
        ("RATE_LIMITS", json.dumps([a_limit(), a_limit()]), "the same name"),
        ("RATE_LIMITS", json.dumps([a_limit(limit=0)]), "greater than or equal to 1"),
        ("RATE_LIMITS", json.dumps([a_limit(per="planet")]), "'user' or 'ip'"),
        ("TRUSTED_PROXIES", json.dumps(["somewhere"]), "TRUSTED_PROXIES"),
        ("EXTERNAL_ISSUERS", json.dumps([an_issuer(), an_issuer(issuer="https://b.example")]), "the same name"),
        ("EXTERNAL_ISSUERS", json.dumps([an_issuer(), an_issuer(name="other")]), "there twice"),
        ("EXTERNAL_ISSUERS", json.dumps([an_issuer(issuer="https://tradeflow.test")]), "names the gateway itself"),
        ("EXTERNAL_ISSUERS", json.dumps([an_issuer(issuer="http://id.example")]), "must be an https URL"),
        ("EXTERNAL_ISSUERS", json.dumps([an_issuer(jwks_url="ftp://id.example")]), "must be an https URL"),
        ("EXTERNAL_ISSUERS", json.dumps([an_issuer(algorithms=["HS256"])]), "algorithms"),
        ("EXTERNAL_ISSUERS", json.dumps([an_issuer(algorithms=["none"])]), "algorithms"),
        ("EXTERNAL_ISSUERS", json.dumps([an_issuer(algorithms=[])]), "algorithms"),
        ("EXTERNAL_ISSUERS", json.dumps([an_issuer(roles={"x": "merchant"})]), "belong together"),
        ("EXTERNAL_ISSUERS", json.dumps([an_issuer(roles_claim="g", roles={"x": "service"})]), "'buyer', 'merchant'"),
        ("EXTERNAL_ISSUERS", json.dumps([an_issuer(ca_file="/nowhere/ca.pem")]), "ca_file"),
        ("EXTERNAL_ISSUERS", json.dumps([an_issuer(ca_file=__file__)]), "no certificates"),
        ("EXTERNAL_ISSUERS", json.dumps([an_issuer(scopes="email")]), "scopes"),
        ("EXTERNAL_ISSUERS", json.dumps([an_issuer(colour="red")]), "colour"),
        ("EXTERNAL_ISSUERS", json.dumps([{"name": "staff"}]), "audience"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, complaint: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        from_environment(monkeypatch, **{name: value})

    assert complaint in capsys.readouterr().err


def test_rate_limits_and_trusted_proxies_are_read_from_json(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = from_environment(
        monkeypatch, RATE_LIMITS=json.dumps([a_limit()]), TRUSTED_PROXIES=json.dumps(["10.0.0.0/8", "fd00::/8"])
    )

    assert [limit.policy().name for limit in settings.rate_limits] == ["reads"]
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "fd00::/8"]


def test_other_issuers_are_read_from_json_and_promise_little_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = from_environment(monkeypatch, EXTERNAL_ISSUERS=json.dumps([an_issuer()]))

    (issuer,) = settings.external_issuers
    assert (issuer.algorithms, issuer.roles, issuer.token_age_seconds_max) == (("RS256",), {}, 600)
