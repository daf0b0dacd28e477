"""Asks every process behind a Service, one by one: what one of them says, the others may not know yet."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tradeflow_operator.clients.kubernetes import KubernetesClient, object_path

ASK_SECONDS_MAX = 3.0
"""For one answer; an address that needs longer hasn't answered."""

ASKED_AT_ONCE_MAX = 16
"""How many addresses are asked side by side."""

ANSWER_BYTES_MAX = 4 * 1024 * 1024
"""A page of metrics has some hundred kilobytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One process behind a Service."""

    host: str
    port: int
    ready: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a process said; a status of 0 is no answer."""

    address: Address
    status: int
    text: str = ""

    @property
    def came(self) -> bool:
        """Whether it answered at all."""
        return self.status != 0


class ServiceAddresses:
    """Reads who is behind a Service, and asks them."""

    def __init__(self, kubernetes: KubernetesClient) -> None:
        """Prepare."""
        self._kubernetes = kubernetes
        self._slots = asyncio.Semaphore(ASKED_AT_ONCE_MAX)

    async def addresses(self, namespace: str, service: str, port: str | int) -> list[Address]:
        """List the addresses of a Service's EndpointSlices that aren't about to end; none for a Service without any.

        Raises:
            UnavailableError: The Kubernetes API doesn't answer.
        """
        path = object_path("apis/discovery.k8s.io/v1", "endpointslices", namespace)
        slices = await self._kubernetes.read(path, {"labelSelector": f"kubernetes.io/service-name={service}"})
        found = {address for each in (slices or {}).get("items") or () for address in _addresses_of(each, port)}
        return sorted(found, key=str)

    async def ask(self, namespace: str, service: str, port: str | int, path: str) -> list[Answer]:
        """GET a path of each process; who isn't ready and doesn't answer is left out: nobody is sent there."""
        addresses = await self.addresses(namespace, service, port)
        timeout = aiohttp.ClientTimeout(total=ASK_SECONDS_MAX)
        # Pods are asked directly: a proxy of the environment doesn't know them.
        # Uncompressed: the bound is for what comes.
        plain = {"Accept-Encoding": "identity"}
        async with aiohttp.ClientSession(
            timeout=timeout, trust_env=False, headers=plain, auto_decompress=False
        ) as session:
            answers = await asyncio.gather(*(self._ask_one(session, address, path) for address in addresses))
        return [answer for answer in answers if answer.came or answer.address.ready]

    async def _ask_one(self, session: aiohttp.ClientSession, address: Address, path: str) -> Answer:
        async with self._slots:
            try:
                # Where a process sends us on is no address of the Service: it may be one that only we can reach.
                async with session.get(f"http://{address}{path}", allow_redirects=False) as response:
                    content = await response.content.read(ANSWER_BYTES_MAX)
                    while not response.content.at_eof() and len(content) < ANSWER_BYTES_MAX:
                        content += await response.content.read(ANSWER_BYTES_MAX)
                    return Answer(address=address, status=response.status, text=content.decode(errors="replace"))
            except (TimeoutError, aiohttp.ClientError, OSError):
                return Answer(address=address, status=0)


def samples_of(answer: Answer) -> list[tuple[str, Mapping[str, str], float]]:
    """Read a page of metrics: name, labels, value; nothing from what isn't one."""
    try:
        families = list(text_string_to_metric_families(answer.text if answer.status == HTTPStatus.OK else ""))
    except ValueError:
        return []
    return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


def _addresses_of(slice_: Mapping[str, Any], port: str | int) -> Iterator[Address]:
    numbers = [each["port"] for each in slice_.get("ports") or () if port in {each.get("name"), each.get("port")}]
    for endpoint in slice_.get("endpoints") or ():
        conditions = endpoint.get("conditions") or {}
        if conditions.get("terminating"):
            continue
        for host in endpoint.get("addresses") or ():
            for number in numbers:
                yield Address(host=host, port=number, ready=conditions.get("ready") is not False)
