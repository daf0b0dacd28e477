"""Each broker that the port has, with the topics that a test needs."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.runtime.broker.opening import open_broker
from services.runtime.broker.port import Broker
from tests.parts.kafka_topics import make_topics

BROKERS = ["sqlite", pytest.param("kafka", marks=pytest.mark.part("kafka"))]
"""The parameters of a fixture."""


@asynccontextmanager
async def opened_broker(request: pytest.FixtureRequest, folder: Path, topics: Sequence[str]) -> AsyncIterator[Broker]:
    """Open the broker that a fixture with `BROKERS` is asked for; on Kafka each topic has three partitions."""
    if request.param == "sqlite":
        url = f"sqlite:///{folder}/broker.db"
    else:
        url = request.getfixturevalue("kafka_url")
        make_topics(url, topics, partitions=3)
    broker = open_broker(url)
    await broker.ensure_topics(topics)
    yield broker
    await broker.close()
