from typing import Annotated

import pytest
from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.runtime.settings import ServiceSettings, load_settings


def never_valid(value: SecretStr) -> SecretStr:
    raise ValueError(f"{value.get_secret_value()} is not valid")


class ShopSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TRADEFLOW_SHOP_")

    database_url: str
    """Where the shop keeps its rows."""

    http_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """The port of the
    HTTP API."""

    clients: dict[str, str] = Field(default_factory=dict)
    """Who may call."""

    owners: list[dict[str, str]] = Field(default_factory=list)
    """Who owns it."""

    password: SecretStr = SecretStr("")
    """Opens the till."""


class WrongSecretSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TRADEFLOW_SHOP_")

    password: Annotated[SecretStr, AfterValidator(never_valid)]
    """Opens the till."""

    tills: Annotated[SecretStr, AfterValidator(never_valid)] | None = None
    """Opens them all."""


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "HTTP_PORT", "CLIENTS", "OWNERS", "PASSWORD", "TILLS"):
        monkeypatch.delenv(f"TRADEFLOW_SHOP_{name}", raising=False)


def complaints(settings: type[ServiceSettings], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        load_settings(settings)
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEFLOW_SHOP_DATABASE_URL", "sqlite:////data/shop.db")
    monkeypatch.setenv("TRADEFLOW_SHOP_HTTP_PORT", "9000")
    monkeypatch.setenv("TRADEFLOW_SHOP_CLIENTS", '{"orders": "abc"}')

    settings = load_settings(ShopSettings)

    assert settings.database_url == "sqlite:////data/shop.db"
    assert settings.http_port == 9000
    assert settings.clients == {"orders": "abc"}


def test_settings_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEFLOW_SHOP_DATABASE_URL", "x")
    settings = load_settings(ShopSettings)

    with pytest.raises(ValueError, match="frozen"):
        settings.http_port = 1


def test_every_missing_or_wrong_variable_is_named_with_its_purpose(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRADEFLOW_SHOP_HTTP_PORT", "70000")
    monkeypatch.setenv("TRADEFLOW_SHOP_OWNERS", '[{"ann": 5}]')

    lines = complaints(ShopSettings, capsys).splitlines()

    assert lines[1:] == [
        "  TRADEFLOW_SHOP_DATABASE_URL is missing (Where the shop keeps its rows.)",
        "  TRADEFLOW_SHOP_HTTP_PORT is wrong: Input should be less than or equal to 65535 (The port of the HTTP API.)",
        "  TRADEFLOW_SHOP_OWNERS is wrong at 0.ann: Input should be a valid string (Who owns it.)",
    ]


def test_a_variable_that_is_not_json_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRADEFLOW_SHOP_CLIENTS", "{orders: hunter2}")

    printed = complaints(ShopSettings, capsys)

    assert "TRADEFLOW_SHOP_CLIENTS is not JSON (Who may call.)" in printed
    assert "hunter2" not in printed


def test_a_secret_is_never_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TRADEFLOW_SHOP_PASSWORD", "hunter2")
    monkeypatch.setenv("TRADEFLOW_SHOP_TILLS", "hunter2")

    printed = complaints(WrongSecretSettings, capsys)

    assert "TRADEFLOW_SHOP_PASSWORD is not valid (Opens the till.)" in printed
    assert "TRADEFLOW_SHOP_TILLS is not valid (Opens them all.)" in printed
    assert "hunter2" not in printed
