"""The folder of signing keys: what is read, what is refused, and when it is read again."""

import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet as JoseKeySet
from joserfc.jwk import RSAKey

from services.gateway.access_tokens import OwnServiceTokens, TokenIssuer
from services.gateway.keys import KeyRing, KeysError, ensure_keys, read_keys
from services.runtime.errors import UnavailableError
from tests.support.clock import VirtualClock
from tests.support.gateway_world import signing_jwk, write_keys

CLAIMS = {"sub": "anne"}


def jwk(name: str = "first", **changes: Any) -> dict[str, Any]:
    return {**signing_jwk(name), **changes}


def kid(name: str) -> str:
    return str(signing_jwk(name)["kid"])


def public_keys(ring: KeyRing) -> JoseKeySet:
    return JoseKeySet.import_key_set(msgspec.json.decode(msgspec.json.encode(ring.current.public())))


def test_the_newest_active_key_signs_and_all_verify(tmp_path: Path) -> None:
    write_keys(tmp_path, jwk("old", iat=100), jwk("new", iat=200), jwk("prepared", iat=300, status="prepared"))

    ring = KeyRing(tmp_path)
    token = jwt.decode(ring.sign(CLAIMS), public_keys(ring), algorithms=["RS256"])

    assert token.header == {"alg": "RS256", "typ": "at+jwt", "kid": kid("new")}
    assert [key["kid"] for key in ring.current.public()["keys"]] == [kid("new"), kid("prepared"), kid("old")]


@pytest.mark.parametrize("names", [("first", "second"), ("second", "first")])
def test_of_keys_made_in_one_second_the_last_one_signs(tmp_path: Path, names: tuple[str, str]) -> None:
    write_keys(tmp_path, *(jwk(name, iat=100) for name in names))

    assert read_keys(tmp_path).active.key_id == kid(names[1])


def test_keys_of_several_files_make_one_set(tmp_path: Path) -> None:
    write_keys(tmp_path, jwk("old", iat=100), file_name="a.json")
    write_keys(tmp_path, jwk("new", iat=200), jwk("old", iat=100), file_name="b.json")

    assert [key.key_id for key in read_keys(tmp_path).keys] == [kid("old"), kid("new")]


def test_what_is_published_has_no_private_part(tmp_path: Path) -> None:
    write_keys(tmp_path, jwk())

    (published,) = KeyRing(tmp_path).current.public()["keys"]

    assert not set(published) & {"d", "p", "q", "dp", "dq", "qi", "status", "iat"}


def test_a_key_without_a_kid_gets_its_thumbprint(tmp_path: Path) -> None:
    members = {name: value for name, value in jwk().items() if name != "kid"}
    write_keys(tmp_path, members)

    assert read_keys(tmp_path).active.key_id == kid("first")


def public_jwk() -> dict[str, Any]:
    return dict(RSAKey.import_key({k: v for k, v in jwk().items() if k in {"kty", "n", "e"}}).as_dict(private=False))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{", "no JWK set"),
        (b"[]", "no JWK set"),
        (b'{"keys": [{"kty": "oct", "k": "eA"}]}', "no RSA key"),
        (b'{"keys": [{"kty": "RSA", "n": "eA"}]}', "no RSA key"),
        (msgspec.json.encode({"keys": []}), "no key is active"),
        (msgspec.json.encode({"keys": [public_jwk()]}), "without its private part"),
        (msgspec.json.encode({"keys": [jwk(kid="mine")]}), "not its RFC 7638 thumbprint"),
        (msgspec.json.encode({"keys": [jwk(status="lost")]}), "unknown status"),
        (msgspec.json.encode({"keys": [jwk(status="retiring")]}), "no key is active"),
    ],
)
def test_a_folder_that_can_not_sign_is_refused_and_says_why(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "keys.json").write_bytes(content)

    with pytest.raises(KeysError, match=complaint):
        KeyRing(tmp_path)


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(KeysError, match="no key file"):
            KeyRing(folder)


async def test_a_changed_folder_is_read_again(tmp_path: Path) -> None:
    write_keys(tmp_path, jwk("old"))
    ring = KeyRing(tmp_path)

    assert not ring.reload_if_changed()
    write_keys(tmp_path, jwk("old", status="retiring"), jwk("new"))

    assert ring.reload_if_changed()
    assert ring.current.active.key_id == kid("new")
    assert await ring.find(kid("old")) is not None


def a_ring(folder: Path, clock: VirtualClock) -> KeyRing:
    return KeyRing(folder, announce_seconds=60, clock=clock)


async def test_a_key_that_comes_in_active_is_published_before_it_signs(tmp_path: Path) -> None:
    clock = VirtualClock()
    write_keys(tmp_path, jwk("old", iat=100))
    ring = a_ring(tmp_path, clock)

    write_keys(tmp_path, jwk("old", iat=100), jwk("new", iat=200))

    assert ring.reload_if_changed()
    assert ring.current.active.key_id == kid("old")
    assert await ring.find(kid("new")) is not None
    await clock.advance(59)
    assert not ring.reload_if_changed()
    await clock.advance(1)
    assert ring.reload_if_changed()
    assert ring.current.active.key_id == kid("new")


async def test_a_key_that_was_prepared_for_long_signs_as_soon_as_it_is_active(tmp_path: Path) -> None:
    clock = VirtualClock()
    write_keys(tmp_path, jwk("old", iat=100))
    ring = a_ring(tmp_path, clock)
    write_keys(tmp_path, jwk("old", iat=100), jwk("new", iat=200, status="prepared"))
    ring.reload_if_changed()
    await clock.advance(60)

    write_keys(tmp_path, jwk("old", iat=100), jwk("new", iat=200))
    ring.reload_if_changed()

    assert ring.current.active.key_id == kid("new")


def test_without_another_active_key_a_new_one_signs_at_once(tmp_path: Path) -> None:
    write_keys(tmp_path, jwk("old"))
    ring = a_ring(tmp_path, VirtualClock())

    write_keys(tmp_path, jwk("old", status="retiring"), jwk("new"))
    ring.reload_if_changed()

    assert ring.current.active.key_id == kid("new")


async def test_of_keys_that_are_all_young_the_one_signs_that_is_published_longest(tmp_path: Path) -> None:
    clock = VirtualClock()
    write_keys(tmp_path, jwk("old"))
    ring = a_ring(tmp_path, clock)
    write_keys(tmp_path, jwk("old", status="retiring"), jwk("hasty", iat=100))
    ring.reload_if_changed()
    await clock.advance(50)

    write_keys(tmp_path, jwk("old", status="retiring"), jwk("hasty", iat=100), jwk("new", iat=200))
    ring.reload_if_changed()
    assert ring.current.active.key_id == kid("hasty")

    await clock.advance(59)
    ring.reload_if_changed()
    assert ring.current.active.key_id == kid("hasty")
    await clock.advance(1)
    ring.reload_if_changed()
    assert ring.current.active.key_id == kid("new")


def test_a_replica_that_starts_in_the_middle_of_a_rotation_waits_too(tmp_path: Path) -> None:
    clock = VirtualClock()
    made_now = int(clock.now().timestamp())
    write_keys(tmp_path, jwk("old"), jwk("new", iat=made_now))

    assert a_ring(tmp_path, clock).current.active.key_id == kid("old")


async def test_a_folder_that_can_not_be_used_is_told_until_it_can(tmp_path: Path) -> None:
    write_keys(tmp_path, jwk("old"))
    ring = KeyRing(tmp_path)
    await ring.check()

    (tmp_path / "keys.json").write_text("{")
    ring.reload_if_changed()
    with pytest.raises(UnavailableError, match="no JWK set"):
        await ring.check()

    write_keys(tmp_path, jwk("old"))
    ring.reload_if_changed()
    await ring.check()


async def test_an_unknown_key_is_looked_for_in_the_folder_before_its_token_is_called_forged(tmp_path: Path) -> None:
    write_keys(tmp_path, jwk("old", iat=100))
    ring = KeyRing(tmp_path)
    write_keys(tmp_path, jwk("old", iat=100), jwk("new", iat=200))  # another replica saw it first, and signs with it

    found = await ring.find(kid("new"))

    assert found is not None
    assert found.thumbprint() == kid("new")
    assert await ring.find("nobody's") is None


async def test_a_removed_key_is_no_longer_found(tmp_path: Path) -> None:
    write_keys(tmp_path, jwk("old"), jwk("new"))
    ring = KeyRing(tmp_path)
    write_keys(tmp_path, jwk("new"))

    ring.reload_if_changed()

    assert await ring.find(kid("old")) is None


def test_a_broken_change_keeps_the_last_good_keys_until_it_is_mended(tmp_path: Path) -> None:
    write_keys(tmp_path, jwk("old"))
    ring = KeyRing(tmp_path)

    (tmp_path / "keys.json").write_text("{")
    assert not ring.reload_if_changed()
    assert ring.current.active.key_id == kid("old")

    write_keys(tmp_path, jwk("new"))
    assert ring.reload_if_changed()
    assert ring.current.active.key_id == kid("new")


def test_a_mounted_secret_that_swaps_its_link_is_read_again(tmp_path: Path) -> None:
    write_keys(tmp_path / "..1", jwk("old"))
    write_keys(tmp_path / "..2", jwk("new"))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "keys.json").symlink_to("..data/keys.json")
    ring = KeyRing(tmp_path)

    (tmp_path / "..next").symlink_to("..2")
    (tmp_path / "..next").replace(tmp_path / "..data")

    assert ring.reload_if_changed()
    assert ring.current.active.key_id == kid("new")


def test_a_new_folder_gets_one_key_that_only_its_owner_may_read(tmp_path: Path) -> None:
    folder = ensure_keys(tmp_path / "keys")

    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert KeyRing(folder).sign(CLAIMS)


def test_keys_that_are_there_are_left_alone(tmp_path: Path) -> None:
    write_keys(tmp_path, jwk())
    before = (tmp_path / "keys.json").read_bytes()

    ensure_keys(tmp_path)

    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


def test_processes_that_start_at_once_end_up_with_the_same_key(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    threads = [threading.Thread(target=ensure_keys, args=(folder,)) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert os.listdir(folder) == ["signing-keys.json"]  # noqa: PTH208 - names are enough
    assert len(read_keys(folder).keys) == 1


async def test_a_service_token_is_used_again_until_shortly_before_its_end(tmp_path: Path) -> None:
    write_keys(tmp_path, jwk())
    clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
    issuer = TokenIssuer(KeyRing(tmp_path), issuer="i", clock=clock, user_token_seconds=600, service_token_seconds=300)
    tokens = OwnServiceTokens(issuer, clock)

    first = await tokens.token_for("ledger")
    await clock.advance(269)
    still = await tokens.token_for("ledger")
    await clock.advance(2)
    renewed = await tokens.token_for("ledger")

    assert still == first
    assert renewed != first
    assert await tokens.token_for("orders") != renewed
