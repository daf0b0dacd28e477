"""Values in the registry's wire format. Ids are looked up when first needed and kept: a schema's id never changes."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from services.runtime.errors import UnavailableError
from services.runtime.registry.client import RegistryClient
from services.runtime.registry.contract import SUBJECT_SUFFIX, EventContract
from services.runtime.registry.lookup import find_registered
from services.runtime.registry.port import MessageCodec, PlainCodec
from services.runtime.registry.wire_format import frame_of

logger = structlog.get_logger(__name__)

SCHEMA_MISSING_REASON = "schema_missing"
"""The reason of what can't be published before somebody registers its schema."""


class RegistryCodec:
    """Fits `MessageCodec`. A registry that is away doesn't matter to who has asked it once."""

    def __init__(
        self, client: RegistryClient, contracts: Sequence[EventContract], *, outer_name: Callable[[str], str]
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            client: Asks the registry; closed with the codec.
            contracts: What is published here.
            outer_name: Names a topic as programs outside do, which is what subjects are named after.
        """
        self._client = client
        self._contracts = {contract.topic: contract for contract in contracts}
        self._outer_name = outer_name
        self._frames: dict[str, bytes] = {}
        self._lookups: dict[str, asyncio.Task[bytes]] = {}

    async def encode(self, topic: str, payload: bytes) -> bytes:
        """Make the value of a message of a topic.

        Raises:
            UnavailableError: `schema_missing`, or the registry doesn't answer and the id isn't known yet.
        """
        frame = self._frames.get(topic)
        return (frame if frame is not None else await self._looked_up(topic)) + payload

    async def check_ready(self) -> None:
        """Fit a readiness check: the ids of all that is published here are known.

        Raises:
            UnavailableError: As `encode` does.
        """
        for topic in self._contracts:
            if topic not in self._frames:
                await self._looked_up(topic)

    async def _looked_up(self, topic: str) -> bytes:
        """Share one look-up between all that wait for it; it goes on when one of them, such as a probe, gives up."""
        if topic not in self._lookups:
            task = asyncio.create_task(self._look_up(self._contracts[topic]), name=f"schema-lookup-{topic}")
            self._lookups[topic] = task
            task.add_done_callback(lambda done: self._note_end(topic, done))
        return await asyncio.shield(self._lookups[topic])

    def _note_end(self, topic: str, task: asyncio.Task[bytes]) -> None:
        del self._lookups[topic]
        if not task.cancelled() and task.exception() is None:
            self._frames[topic] = task.result()

    async def _look_up(self, contract: EventContract) -> bytes:
        subject = f"{self._outer_name(contract.topic)}{SUBJECT_SUFFIX}"
        registered = await find_registered(self._client, subject, contract.schema)
        if registered is None:
            raise UnavailableError(
                f"The schema registry {self._client.base_url} doesn't have {contract.message.full_name} as {subject};"
                " register it: tradeflow schemas register",
                reason=SCHEMA_MISSING_REASON,
                details={"subject": subject},
            )
        logger.info("schema_found", subject=subject, schema_id=registered.id, version=registered.version)
        return frame_of(registered.id, contract.message_path)

    async def close(self) -> None:
        """Give look-ups up and close the connections."""
        lookups = list(self._lookups.values())
        for task in lookups:
            task.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)
        await self._client.close()


def open_codec(
    registry_url: str | None, contracts: Sequence[EventContract], *, outer_name: Callable[[str], str]
) -> MessageCodec:
    """Open what a setting names: a registry, or none.

    Raises:
        InvalidArgumentError: The URL is malformed (`registry_url_malformed`).
    """
    if registry_url is None:
        return PlainCodec()
    return RegistryCodec(RegistryClient(registry_url), contracts, outer_name=outer_name)
