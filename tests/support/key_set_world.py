"""A key set, and gateways that mount its Secret late, on the clock of a simulation."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

from tests.support.kind_bench import NAMESPACE, KindBench
from tradeflow_operator.clients.key_documents import read_document
from tradeflow_operator.clients.kubernetes import KubernetesClient
from tradeflow_operator.clients.service_addresses import Address, Answer, ServiceAddresses
from tradeflow_operator.handlers.jwt_key_set import JWTKeySetKind
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.reconcile.jwt_key_set import JWTKeySetSpec, KeySetSeen
from tradeflow_operator.reconcile.plan import Plan
from tradeflow_operator.reconcile.signing_keys import KeyPhase, SigningKeys
from tradeflow_operator.resources import Resource

MOUNT_SECONDS = 60
"""How much later than the Secret each gateway is."""

NAME = "keys"

SPEC = {
    "algorithm": "EdDSA",  # made a thousand times as fast as RSA's
    "rotateEvery": "1h",
    "publishBefore": "6m",
    "gateway": {"service": "gateway"},
    "secretName": "signing-keys",
    "configMapName": "public-keys",
}


class MountingGateways(ServiceAddresses):
    """Two gateways, each with the Secret of a minute ago."""

    def __init__(self, kubernetes: KubernetesClient, world: "KeySetWorld") -> None:
        super().__init__(kubernetes)
        self._world = world

    async def ask(self, namespace: str, service: str, port: str | int, path: str) -> list[Answer]:
        assert (namespace, service, port, path) == (NAMESPACE, "gateway", "http", "/.well-known/jwks.json")
        if not self._world.kids_ever:
            self._world.look()
        shown = json.dumps(self._world.mounted().jwks())
        hosts = self._world.gateways
        return [Answer(address=Address(host=host, port=8080, ready=True), status=200, text=shown) for host in hosts]


class ClockedKind(JWTKeySetKind):
    """The kind on the world's clock."""

    def __init__(self, kubernetes: KubernetesClient, world: "KeySetWorld") -> None:
        super().__init__(kubernetes, MountingGateways(kubernetes, world), OperatorMetrics())
        self._world = world

    def plan(self, resource: Resource[JWTKeySetSpec], observed: KeySetSeen, now: datetime) -> Plan:
        del now
        return super().plan(resource, observed, datetime.fromtimestamp(self._world.now_seconds, UTC))


class KeySetWorld:
    """The whole of it."""

    def __init__(self, **spec: Any) -> None:
        self.now_seconds = 1_800_000_000
        self.gateways = ["10.0.0.1", "10.0.0.2"]
        self._writes: list[tuple[int, SigningKeys]] = []
        self.kids_ever: set[str] = set()
        self.keys_were_taken = False
        self.bench = KindBench(lambda kubernetes: ClockedKind(kubernetes, self))
        self.bench.create(NAME, **{**SPEC, **spec})

    def pass_time(self, seconds: int) -> None:
        self.now_seconds += seconds

    async def visit(self) -> None:
        """Let the operator work, and look at what it wrote even if it dies."""
        try:
            await self.bench.visit(NAME)
        finally:
            self.look()

    def look(self) -> None:
        keys = self.keys()
        if keys is not None and (not self._writes or self._writes[-1][1] != keys):
            self._writes.append((self.now_seconds, keys))
            self.kids_ever |= keys.kids
        self.check()

    def check(self) -> None:
        """Safety rule 5, as far as one look can tell: one key signs, and who verifies knows it."""
        keys = self.keys()
        if keys is None or self.keys_were_taken:
            return
        assert len(keys.in_phase(KeyPhase.ACTIVE)) == 1
        signing = self.mounted().active
        assert signing is not None
        published = self.published()
        # The very first key signs before the ConfigMap is there, and nobody has one of its tokens yet.
        assert published is None or signing.kid in published or len(self._writes) == 1

    def keys(self) -> SigningKeys | None:
        secret = self.bench.found("secrets", "signing-keys")
        if secret is None:
            return None
        return read_document(base64.b64decode(secret["data"]["signing-keys.json"]))

    def published(self) -> list[str] | None:
        config_map = self.bench.found("configmaps", "public-keys")
        return [key["kid"] for key in json.loads(config_map["data"]["jwks.json"])["keys"]] if config_map else None

    def mounted(self) -> SigningKeys:
        """Return what gateways have: the newest write that is older than a mount, or the first."""
        old = [keys for at, keys in self._writes if at + MOUNT_SECONDS <= self.now_seconds]
        return old[-1] if old else (self._writes[0][1] if self._writes else SigningKeys())

    def private_parts(self) -> set[str]:
        """List what nobody but the gateways may ever see."""
        secret = self.bench.found("secrets", "signing-keys")
        assert secret is not None
        keys = json.loads(base64.b64decode(secret["data"]["signing-keys.json"]))["keys"]
        return {key[member] for key in keys for member in ("d", "p", "q", "dp", "dq", "qi") if member in key}
