import json
import logging
from typing import Any

import pytest
import structlog

from services.runtime.log import REDACTED, configure_logging, redact
from services.runtime.tracing import continued_trace

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    printed = capsys.readouterr()
    assert printed.out == ""
    return [json.loads(line) for line in printed.err.splitlines()]


def redacted(**event: object) -> dict[str, object]:
    return dict(redact(None, "info", event))


def test_a_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(service="ledger")

    structlog.get_logger("a.module").info("batch_committed", commands=3, of=["a", "b"])

    (line,) = lines(capsys)
    assert line["event"] == "batch_committed"
    assert line["level"] == "info"
    assert line["service"] == "ledger"
    assert line["logger"] == "a.module"
    assert line["commands"] == 3
    assert line["timestamp"].endswith("Z")


def test_a_line_names_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()

    with continued_trace(None) as trace:
        structlog.get_logger().info("inside")
    structlog.get_logger().info("outside")

    inside, outside = lines(capsys)
    assert inside["trace_id"] == trace.trace_id
    assert "trace_id" not in outside


def test_the_level_is_a_bound(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="WARNING")

    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")

    assert [line["event"] for line in lines(capsys)] == ["loud"]


def test_the_standard_librarys_loggers_write_the_same_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(service="ledger")

    logging.getLogger("some.library").warning("took %d ms, token %s", 5, JWT)

    (line,) = lines(capsys)
    assert line["event"] == f"took 5 ms, token {REDACTED}"
    assert line["service"] == "ledger"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_is_shown_without_its_secrets(capsys: pytest.CaptureFixture[str], log_format: Any) -> None:
    configure_logging(log_format=log_format)
    local_password = "hunter2"

    def fail() -> None:
        raise RuntimeError(f"Bearer {JWT}")

    try:
        fail()
    except RuntimeError:
        structlog.get_logger().exception("failed", password=local_password)

    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "RuntimeError" in printed
    assert JWT not in printed
    assert "hunter2" not in printed


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "Password",
        "client_secret",
        "authorization",
        "X-User-Authorization",
        "access_token",
        "refresh_token",
        "token",
        "ticket",
        "cookie",
        "Set-Cookie",
        "accessToken",
        "refreshToken",
        "clientSecret",
        "apiKey",
        "APIKey",
        "X-Api-Key",
        "IDToken",
        "privateKey",
    ],
)
def test_what_is_named_as_a_secret_is_redacted(key: str) -> None:
    assert redacted(**{key: "x"}) == {key: REDACTED}
    assert redacted(inner={key: ["x"]}) == {"inner": {key: REDACTED}}
    assert redacted(inner=[{key: 5}]) == {"inner": [{key: REDACTED}]}


@pytest.mark.parametrize(
    "key", ["token_id", "tokenType", "idempotency_key", "idempotencyKey", "order_id", "tokenizer", "key", "keyApi"]
)
def test_what_only_sounds_like_a_secret_stays(key: str) -> None:
    assert redacted(**{key: "x"}) == {key: "x"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"sent Authorization: Bearer {JWT} away", f"sent Authorization: {REDACTED} away"),
        ("basic dXNlcjpwYXNz", REDACTED),
        (f"got {JWT}", f"got {REDACTED}"),
        ("mysql://app:hunter2@db:3306/ledger", f"mysql://{REDACTED}@db:3306/ledger"),
        ("redis://:hunter2@redis:6379", f"redis://{REDACTED}@redis:6379"),
        ("mysql://app:hun/ter2@db:3306/ledger", f"mysql://{REDACTED}@db:3306/ledger"),
        ("http://127.0.0.1:8080/path@x", "http://127.0.0.1:8080/path@x"),
        ("a bearer of news", "a bearer of news"),
    ],
)
def test_what_looks_like_a_secret_in_a_text_is_redacted(text: str, shown: str) -> None:
    assert redacted(text=text) == {"text": shown}


def test_a_value_of_any_type_can_be_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    endless: list[object] = []
    endless.append(endless)

    structlog.get_logger().info("odd", endless=endless, raw=b"\xff", type_=object, number=1.5, nothing=None)

    (line,) = lines(capsys)
    assert line["raw"] == "<1 bytes>"
    assert line["number"] == 1.5
    assert line["nothing"] is None
