"""`tradeflow compose`: passwords and keys for an installation without a cluster."""

from pathlib import Path

from typer.testing import CliRunner

from services.embedded.cli import app
from services.embedded.commands.compose import CLIENT_SECRET_DIGEST, PASSWORDS
from services.embedded.service_settings import sha256_of
from services.gateway.keys import read_keys
from services.ledger.proof.key_folder import read_signing_keys


def drawn() -> dict[str, str]:
    ended = CliRunner().invoke(app, ["compose", "env"])
    assert ended.exit_code == 0, ended.output
    return dict(line.split("=", 1) for line in ended.stdout.splitlines())


def test_each_call_draws_other_passwords_and_tells_the_digest_of_the_clients_secret() -> None:
    first, second = drawn(), drawn()

    assert set(first) == {*PASSWORDS, CLIENT_SECRET_DIGEST}
    assert not set(first.values()) & set(second.values())
    assert first[CLIENT_SECRET_DIGEST] == sha256_of(first["ORDERS_CLIENT_SECRET"])


def test_keys_are_made_once_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    made = []
    for _ in range(2):
        assert CliRunner().invoke(app, ["compose", "keys", str(tmp_path)]).exit_code == 0
        made.append({file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()})

    assert made[0] == made[1]
    assert {oct(file.stat().st_mode & 0o777) for file in made[0]} == {"0o600"}
    assert read_keys(tmp_path / "gateway").active.status == "active"
    assert read_signing_keys(tmp_path / "ledger").active.is_active


def test_a_place_that_cannot_hold_keys_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    ended = CliRunner().invoke(app, ["compose", "keys", str(tmp_path / "file" / "keys")])

    assert ended.exit_code == 2
    assert "can't hold keys: Not a directory" in ended.output.replace("\n", "")
