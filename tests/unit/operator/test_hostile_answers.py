"""Who may make a resource in one namespace says whom the operator asks; what answers there can't harm the others."""

import gzip
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.fake_kubernetes import FakeCluster, FakeKubernetes
from tests.support.http_upstream import answering, serving_upstream
from tests.support.kind_bench import NAMESPACE
from tests.support.platform_world import PlatformWorld
from tradeflow_operator.clients.fence import open_fence
from tradeflow_operator.clients.helm import RECORD_BYTES_MAX, Helm
from tradeflow_operator.clients.registry import ANSWER_BYTES_MAX, RegistryClient
from tradeflow_operator.clients.service_addresses import ServiceAddresses
from tradeflow_operator.errors import RefusedError, UnavailableError
from tradeflow_operator.metrics import OperatorMetrics

HUGE = b'{"word": "' + b"0" * ANSWER_BYTES_MAX + b'"}'
"""JSON of a registry's form."""

SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"


@pytest.mark.parametrize(
    ("body", "encoding", "told"), [(HUGE, "identity", "more than"), (gzip.compress(HUGE), "gzip", "no registry")]
)
async def test_an_answer_of_a_registry_takes_no_more_memory_than_a_schema_may(
    body: bytes, encoding: str, told: str
) -> None:
    async with serving_upstream() as upstream:
        upstream.answer = answering(body=body, headers=(("Content-Encoding", encoding),))
        client = RegistryClient(upstream.url, {}, open_fence(), OperatorMetrics())

        with pytest.raises(UnavailableError, match=told):
            await client.check()
        await client.close()

    assert ("accept-encoding", "identity") in {(name.lower(), value) for name, value in upstream.last.headers}


async def test_a_record_of_helm_takes_no_more_memory_than_a_chart_may(tmp_path: Path) -> None:
    world = PlatformWorld()
    world.record("deployed", {}, values={"word": "0" * RECORD_BYTES_MAX})
    kubernetes = FakeKubernetes(world.bench.cluster, open_fence())
    helm = Helm(kubernetes, open_fence(), program="helm", chart=tmp_path, kubeconfig=None)

    with pytest.raises(RefusedError) as refused:
        await helm.newest(NAMESPACE, "shop")

    assert refused.value.reason == "UnreadableRecord"


async def test_the_operator_goes_nowhere_that_a_process_behind_a_service_sends_it() -> None:
    async with serving_upstream() as asked, serving_upstream() as elsewhere:
        asked.answer = answering(302, headers=(("Location", f"{elsewhere.url}/only-the-operator-gets-here"),))
        cluster = FakeCluster()
        address = urlsplit(asked.url)
        slice_ = {
            "metadata": {"name": "gateway-1", "labels": {"kubernetes.io/service-name": "gateway"}},
            "ports": [{"name": "http", "port": address.port}],
            "endpoints": [{"addresses": [address.hostname], "conditions": {"ready": True}}],
        }
        cluster.put(SLICES, slice_)
        addresses = ServiceAddresses(FakeKubernetes(cluster, open_fence()))

        [answer] = await addresses.ask(NAMESPACE, "gateway", "http", "/metrics")

    assert answer.status == 302
    assert elsewhere.received == []
