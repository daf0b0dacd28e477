"""A cluster of one node, the project's image on it, and TradeFlow installed by Helm."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.ledger.wiring import TOPICS as LEDGER_TOPICS
from services.orders.wiring import TOPICS as ORDERS_TOPICS
from tests.cluster.installation import IMAGE_TAG, Installation, values_of
from tests.cluster.pod_parts import PodParts, pod_parts
from tests.parts.cluster import OneNodeCluster
from tests.parts.home import locked, parts_home
from tests.parts.images import ImageBuilder
from tests.parts.kafka_topics import make_topics
from tests.support.public_shop import PublicShop, public_shop

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def cluster() -> Iterator[OneNodeCluster]:
    """Bring up the machine's one cluster, empty, with the project's image on its node."""
    with locked(parts_home() / "cluster.lock"):
        cluster = OneNodeCluster(parts_home() / "cluster")
        cluster.wipe()
        try:
            cluster.start()
            cluster.load(ImageBuilder().build(ROOT, f"tradeflow:{IMAGE_TAG}"))
            yield cluster
        finally:
            cluster.wipe()


@pytest.fixture(scope="module")
def parts(cluster: OneNodeCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodParts]:
    """Start what the platform stands on, where pods reach it."""
    with pod_parts(tmp_path_factory.mktemp("parts")) as parts:
        yield parts


@pytest.fixture(scope="module")
def installation(
    cluster: OneNodeCluster, parts: PodParts, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Install the platform, two of each service, into a namespace that takes restricted pods only."""
    make_topics(parts.broker_url, sorted({*LEDGER_TOPICS, *ORDERS_TOPICS}), partitions=4)
    installation = Installation(cluster=cluster, parts=parts, data=tmp_path_factory.mktemp("data"))
    installation.prepare()
    installation.prepare_keys()
    installation.install(values_of(parts))
    yield installation
    installation.uninstall()


@pytest.fixture
async def shop(installation: Installation) -> AsyncIterator[PublicShop]:
    """Open a shop at the gateway's Service."""
    async with public_shop(installation.gateway_url(), installation.data) as shop:
        yield shop
