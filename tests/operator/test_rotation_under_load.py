"""Five rotations by the operator at speed, while two gateways issue and verify tokens: nobody is taken for a forger."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.gateway.access_tokens import RENEW_BEFORE_SECONDS
from tests.operator.gateway_processes import GatewayProcesses, gateway_processes
from tests.operator.gateways import slice_of
from tests.operator.key_sets import KEY_SET, PRIVATE_MEMBERS, active_kids, keys_in
from tests.operator.mounts import Mount, mounted
from tests.operator.object_watch import ObjectWatch, watching
from tests.operator.token_users import TokenUser, using_tokens
from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.operator_process import Operator
from tests.support.operator_shop import OperatorNamespace
from tests.support.waiting import wait_until

SECRET, CONFIG_MAP = "keys", "keys-jwks"

ROTATIONS = 5

CACHED_SECONDS = 1
"""How long anybody may believe that there are no newer keys."""

ACCESS_TOKEN_SECONDS = 5
SERVICE_TOKEN_SECONDS = 60

AT_SPEED = {
    "rotateEvery": "3s",
    "publishBefore": "2s",
    "jwksCacheTTL": f"{CACHED_SECONDS}s",
    "clockSkew": "1s",
    # The longest-lived are the gateways' own, which they use no longer than until they are replaced.
    "maxTokenTTL": f"{SERVICE_TOKEN_SECONDS - int(RENEW_BEFORE_SECONDS)}s",
}

IN_A_HURRY = {
    "JWKS_MAX_AGE_SECONDS": str(CACHED_SECONDS),
    "KEYS_MOUNT_SECONDS_MAX": "1",
    "KEYS_RELOAD_SECONDS": "0.1",
    "ACCESS_TOKEN_SECONDS": str(ACCESS_TOKEN_SECONDS),
    "SERVICE_TOKEN_SECONDS": str(SERVICE_TOKEN_SECONDS),
}

SECONDS_LATE = (0.0, 1.0)
"""Each gateway's node mounts a changed Secret when it likes."""

USERS = 3

ROTATED_SECONDS_MAX = 240.0
"""Usually forty."""

Start = Callable[..., Operator]


@pytest.mark.timeout(480)  # rotations take what they take, on a busy machine too
async def test_five_rotations_under_load_refuse_nobody_and_tell_no_private_part(
    operator_namespace: OperatorNamespace, start_operator: Start, redis_url: str, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    operator = start_operator(log_level="DEBUG")
    shop.apply(KEY_SET, SECRET, gateway={"service": "gateway"}, **AT_SPEED)
    shop.wait_for(KEY_SET, SECRET, "True")
    with (
        watching(namespace, "secrets", SECRET, tmp_path) as secret,
        watching(namespace, "configmaps", CONFIG_MAP, tmp_path) as config_map,
    ):
        key_mounts = [Mount(tmp_path / f"keys-{late}", seconds_late=late) for late in SECONDS_LATE]
        public_mount = Mount(tmp_path / "public", seconds_late=max(SECONDS_LATE))
        wait_until(lambda: bool(secret.versions() and config_map.versions()), "nothing is told of the keys")
        for mount, watch in [*((mount, secret) for mount in key_mounts), (public_mount, config_map)]:
            mount.show(watch.versions()[-1])
        folders = [mount.folder for mount in key_mounts]
        async with (
            mounted({**dict.fromkeys(key_mounts, secret), public_mount: config_map}),
            gateway_processes(tmp_path, redis_url, folders, IN_A_HURRY, pause_seconds=CACHED_SECONDS) as gateways,
        ):
            namespace.apply(*(slice_of(f"gateway-{port}", gateways.host, port) for port in gateways.ports))
            users = [a_user(gateways, number, public_mount) for number in range(USERS)]
            async with using_tokens(users):
                await asyncio.to_thread(rotate, shop, secret, users)
            errors = gateways.errors()

        assert {status for user in users for status in user.statuses} == {200}
        assert_one_key_signed_at_all_times(secret, config_map)
        assert removed_kids(secret)
    everything = [*written(namespace), operator.log_file.read_text(), operator.get("/metrics").text, errors]
    private = {key[member] for keys in map(keys_in, secret.versions()) for key in keys for member in PRIVATE_MEMBERS}
    assert len(private) >= (ROTATIONS + 1) * len(PRIVATE_MEMBERS)
    assert [part for part in private if any(part in text for text in everything)] == []


def a_user(gateways: GatewayProcesses, number: int, public_mount: Mount) -> TokenUser:
    email = f"user-{number}@example.org"
    gateways.identity.add_user(email)
    return TokenUser(email=email, gateways=gateways.urls, public_keys=public_mount.folder / "jwks.json")


def rotate(shop: OperatorNamespace, secret: ObjectWatch, users: list[TokenUser]) -> None:
    """Wait until everybody had tokens of so many keys and the first ones are gone, or until somebody is refused."""

    def have_had_all() -> bool:
        return len(set.intersection(*(user.kids for user in users))) > ROTATIONS

    def is_refused() -> bool:
        return any(user.refusals for user in users)

    wait_until(lambda: have_had_all() or is_refused(), "no five rotations", seconds_max=ROTATED_SECONDS_MAX)
    # An old key goes when the newest one has signed alone for a token's life.
    shop.patch(KEY_SET, SECRET, rotateEvery=None)
    wait_until(lambda: bool(removed_kids(secret)) or is_refused(), "no key is removed", seconds_max=ROTATED_SECONDS_MAX)


def removed_kids(secret: ObjectWatch) -> set[str]:
    """Tell which keys were there and are no more."""
    versions = [{key["kid"] for key in keys_in(body)} for body in secret.versions()]
    return set.union(*versions) - versions[-1]


def assert_one_key_signed_at_all_times(secret: ObjectWatch, config_map: ObjectWatch) -> None:
    """Each version of the Secret has one key that signs, and who verifies was told of it before."""
    published = [
        (
            int(body["metadata"]["resourceVersion"]),
            {key["kid"] for key in json.loads(body["data"]["jwks.json"])["keys"]},
        )
        for body in config_map.versions()
    ]
    for number, body in enumerate(secret.versions()):
        (active,) = active_kids(keys_in(body))
        version = int(body["metadata"]["resourceVersion"])
        before = [kids for at, kids in published if at < version]
        # The very first key signs nothing before it is mounted anywhere.
        assert number == 0 or active in before[-1]


def written(namespace: KubernetesNamespace) -> Iterator[str]:
    """Read all that anybody may read, the audit's events too."""
    for kind in ("jwtkeyset", "configmap", "event"):
        yield json.dumps(namespace.all_of(kind))
    yield json.dumps(namespace.writes())
