"""The helm program, stood in for by a script: how long it may run, and what is read of its records."""

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from tests.support.fake_kubernetes import FakeCluster, FakeKubernetes
from tests.support.kind_bench import NAMESPACE
from tests.support.platform_world import PlatformWorld
from tradeflow_operator.clients.fence import MARGIN_SECONDS, Fence, open_fence
from tradeflow_operator.clients.helm import Helm
from tradeflow_operator.errors import RefusedError, UnavailableError

LEASE_SECONDS = MARGIN_SECONDS + 0.3
"""What is left of it for a write is shorter than the script takes."""


def a_helm(folder: Path, script: str, fence: Fence | None = None, cluster: FakeCluster | None = None) -> Helm:
    (folder / "Chart.yaml").write_text("name: tradeflow\n")
    program = folder / "helm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    fence = fence or open_fence()
    kubernetes = FakeKubernetes(cluster or FakeCluster(), fence)
    return Helm(kubernetes, fence, program=str(program), chart=folder, kubeconfig=None)


async def test_helm_may_take_longer_than_one_lease_while_the_lease_is_renewed(tmp_path: Path) -> None:
    fence = Fence()
    fence.open_until(time.monotonic() + LEASE_SECONDS)
    helm = a_helm(tmp_path, f"sleep 1; echo done > {tmp_path}/done", fence)

    async def renew() -> None:
        while True:
            fence.open_until(time.monotonic() + LEASE_SECONDS)
            await asyncio.sleep(0.05)

    renewing = asyncio.create_task(renew())
    await helm.upgrade(NAMESPACE, "shop", {}, {})
    renewing.cancel()

    assert (tmp_path / "done").exists()


async def test_helm_is_killed_when_the_lease_is_not_renewed(tmp_path: Path) -> None:
    fence = Fence()
    fence.open_until(time.monotonic() + LEASE_SECONDS)
    helm = a_helm(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60", fence)

    with pytest.raises(UnavailableError, match="longer than this process may write"):
        await helm.upgrade(NAMESPACE, "shop", {}, {})

    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_what_helm_says_is_the_refusal(tmp_path: Path) -> None:
    helm = a_helm(tmp_path, "echo 'no such value' >&2; exit 1")

    with pytest.raises(RefusedError, match="no such value"):
        await helm.uninstall(NAMESPACE, "shop")


@pytest.mark.parametrize(
    "text",
    [
        '{{ lookup "v1" "Secret" "" "" | toJson }}',
        "{{- lookup `v1` `Secret` `` `` }}",
        "{{ .Release.Name }}{{ getHostByName `secret.example` }}",
        "{{ .Release.Name | printf `%s{` }}",
        "{{{{ .Release.Name }} lookup }}",
        "{{/* */}}{{ tpl .Values.other . }}",
        "{{\nlookup `v1` `Secret` `` ``}}",
    ],
)
@pytest.mark.parametrize("where", ["ledger.tracesUrl", "ledger.keda[0]", "ledger.labels"])
async def test_helm_is_given_no_template_that_does_something(tmp_path: Path, text: str, where: str) -> None:
    helm = a_helm(tmp_path, f"touch {tmp_path}/ran")
    values = {"ledger.tracesUrl": {"tracesUrl": text}, "ledger.keda[0]": {"keda": [text]}, "ledger.labels": {text: ""}}

    with pytest.raises(RefusedError, match="operator's rights") as refused:
        await helm.upgrade(NAMESPACE, "shop", {"ledger": values[where]}, {})

    assert refused.value.reason == "TemplateRefused"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "text",
    ["{{ .Release.Name }}-clients", "{{.Values.global.tradeflow.issuer}}", "{{- $.Release.Namespace -}}", "a {b}"],
)
async def test_helm_is_given_references(tmp_path: Path, text: str) -> None:
    helm = a_helm(tmp_path, f"cat > {tmp_path}/values")

    await helm.upgrade(NAMESPACE, "shop", {"ledger": {"tracesUrl": text}}, {})

    assert json.loads((tmp_path / "values").read_text()) == {"ledger": {"tracesUrl": text}}


@pytest.mark.parametrize(
    "said",
    [
        "kubernetes cluster unreachable: the server is currently unable to handle the request",
        'UPGRADE FAILED: Get "https://10.96.0.1:443/version": dial tcp 10.96.0.1:443: connect: connection refused',
        "UPGRADE FAILED: etcdserver: leader changed",
        "UPGRADE FAILED: the server has received too many requests and has asked us to try again later",
        'UPGRADE FAILED: Internal error occurred: failed calling webhook "images.example": no endpoints available',
    ],
)
async def test_what_hinders_helm_for_a_while_is_no_refusal(tmp_path: Path, said: str) -> None:
    (tmp_path / "said").write_text(f"Error: {said}")
    helm = a_helm(tmp_path, f"cat {tmp_path}/said >&2; exit 1")

    with pytest.raises(UnavailableError) as hindered:
        await helm.upgrade(NAMESPACE, "shop", {}, {})

    assert hindered.value.reason == "HelmHindered"
    assert said in hindered.value.message


async def test_of_what_helm_says_its_error_is_the_refusal_and_not_its_log(tmp_path: Path) -> None:
    log = 'level=INFO msg="found symbolic link in path"'
    helm = a_helm(
        tmp_path, f"echo '{log}' >&2; echo 'Error: UPGRADE FAILED:' >&2; echo '- port is no number' >&2; exit 1"
    )

    with pytest.raises(RefusedError) as refused:
        await helm.upgrade(NAMESPACE, "shop", {}, {})

    assert refused.value.message == "helm refuses it: Error: UPGRADE FAILED: - port is no number"


async def test_the_newest_record_tells_its_step_and_its_values(tmp_path: Path) -> None:
    world = PlatformWorld()
    for number in range(11):
        world.record("superseded", {"tradeflow.dev/step": "ledger"}, values={"number": number})
    helm = a_helm(tmp_path, "", cluster=world.bench.cluster)

    newest = await helm.newest(NAMESPACE, "shop")

    assert newest is not None
    assert (newest.revision, newest.values, newest.labels["tradeflow.dev/step"]) == (11, {"number": 10}, "ledger")
