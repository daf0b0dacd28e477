import ssl
from pathlib import Path

import pytest

from services.runtime.errors import InvalidArgumentError
from services.runtime.mysql.options import options_of


def test_a_url_says_where_who_and_how() -> None:
    options = options_of(
        "mysql://ann:s%40cret@db.example:3307/ledger?pool_max=3&lock_timeout_seconds=2&ssl_mode=required"
    )

    assert (options.host, options.port, options.user, options.password, options.database) == (
        "db.example",
        3307,
        "ann",
        "s@cret",
        "ledger",
    )
    assert (options.pool_max, options.lock_timeout_seconds, options.ssl_mode) == (3, 2, "required")


def test_the_rest_has_defaults() -> None:
    options = options_of("mysql://localhost/ledger")

    assert (options.port, options.user, options.password, options.pool_max) == (3306, "root", "", 10)
    assert options.tls() is None


def test_modes_of_tls_are_mysqls() -> None:
    required = options_of("mysql://h/d?ssl_mode=required").tls()
    authority = options_of("mysql://h/d?ssl_mode=verify_ca").tls()
    identity = options_of("mysql://h/d?ssl_mode=verify_identity").tls()

    assert required is not None
    assert authority is not None
    assert identity is not None
    assert (required.verify_mode, required.check_hostname) == (ssl.CERT_NONE, False)
    assert (authority.verify_mode, authority.check_hostname) == (ssl.CERT_REQUIRED, False)
    assert (identity.verify_mode, identity.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("ssl_ca={file}", "ssl_ca can't be used"),
        ("ssl_mode=required&ssl_cert={file}", "ssl_cert or its ssl_key can't be used"),
        ("ssl_mode=required&ssl_cert={file}&ssl_key=other.pem", "ssl_cert or its ssl_key can't be used"),
    ],
)
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_tls_cannot_use_is_named(option: str, said: str, content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)

    with pytest.raises(OSError, match=said) as raised:
        options_of(f"mysql://h/d?{option.format(file=file)}").tls()

    assert str(file) in str(raised.value.filename)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://host", "names a database"),
        ("mysql://host/a/b", "names a database"),
        ("mysql://host:port/a", "port"),
        ("mysql://host/a?pool_size=3", "no option pool_size"),
        ("mysql://host/a?pool_max=many", "pool_max is a number"),
        ("mysql://host/a?pool_max=0", "greater than 0"),
        ("mysql://host/a?statement_timeout_seconds=nan", "greater than 0"),
        ("mysql://host/a?ssl_mode=preferred", "ssl_mode is one of"),
        ("mysql://host/a?password=secret", "no option password"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(url: str, why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=why) as raised:
        options_of(url)

    assert raised.value.reason == "database_url_malformed"
    assert "secret" not in raised.value.message


def test_options_are_shown_without_the_password() -> None:
    assert "s@cret" not in repr(options_of("mysql://ann:s%40cret@db.example/ledger"))
