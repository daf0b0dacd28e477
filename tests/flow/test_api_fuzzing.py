"""Whatever its own description allows and forbids, sent to the public API: it answers as it says, and never fails.

The calls are made up by schemathesis from /schema; names of what exists are put into many of them, so that they get
further than "not found".
"""

import asyncio
import itertools
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import one_of
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.platform import PlatformProcess, platform_process
from tests.support.public_shop import public_shop, until, until_state
from tests.support.tokens import TokenForge


def reason_is_described(_context: Any, response: Any, case: Any) -> None:
    """Hold a refusal's reason to the words that its operation has for the status: programs branch on it."""
    if 400 <= response.status_code < 500:
        described = case.operation.definition.raw["responses"][str(response.status_code)]["description"]
        reason = response.json()["reason"]
        assert reason in re.findall(r"\w+", described), f"{response.status_code} {reason} isn't described: {described}"


CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    reason_is_described,
)

EXAMPLES_MAX = 25
"""Of each operation: allowed and forbidden ones in turn."""

SHARES = 12
"""Tests that divide the operations among them, so that each is far from a test's time limit on a busy machine too."""

SECONDS_MAX = 60.0
"""How long a call may take on a busy machine."""

CHEAP_PASSWORDS = {"TRADEFLOW_ORDERS_PASSWORD_MEMORY_KIBIBYTES": "64", "TRADEFLOW_ORDERS_PASSWORD_PASSES": "1"}

ALL_ROLES = ["buyer", "merchant", "operator", "treasury"]

GENERATIONS = itertools.count(1_000)
"""More than anybody signs out everywhere here."""

STREAMED = "streamWalletEvents"
"""Its good answer has no end: it has a test of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A platform where somebody bought something, and everybody's right to everything."""

    platform: PlatformProcess
    forge: TokenForge
    user_email: str
    order_id: str
    sku: str

    def bearer(self, **claims: Any) -> dict[str, str]:
        """Make a token of its own for each call, in a generation of its own: one call may revoke it, or all of it."""
        return {"Authorization": f"Bearer {self.forge.signed(roles=ALL_ROLES, gen=next(GENERATIONS), **claims)}"}

    def names(self) -> dict[str, str]:
        """Name what exists, by the names that the description has for it."""
        return {"order_id": self.order_id, "sku": self.sku, "email": self.user_email, "currency": "EUR"}


async def _made(platform: PlatformProcess) -> World:
    async with public_shop(platform.gateway_url, platform.data) as shop:
        seller = await shop.person("merchant", funds_minor=100_000)
        sku = await shop.product(seller, price_minor=10)
        order = await seller.client.place_order({sku: 5})
        await until_state(seller, order, "SETTLED")

        async def head() -> int:
            async with httpx.AsyncClient(trust_env=False) as http:
                return (await http.get(f"{platform.gateway_url}/api/v1/ledger/head")).status_code

        await until(head, lambda status: status == 200, "a signed head")
        return World(
            platform=platform,
            forge=TokenForge(platform.folder.keys, str(seller.user_id)),
            user_email=seller.email,
            order_id=str(order.order_id),
            sku=sku,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with platform_process(tmp_path_factory.mktemp("fuzzed") / "data", CHEAP_PASSWORDS) as platform:
        yield asyncio.run(_made(platform))


def operations_of(world: World) -> Iterator[Any]:
    """Read the description that the platform gives of itself."""
    schema = schemathesis.openapi.from_url(f"{world.platform.gateway_url}/schema/openapi.json")
    for found in schema.exclude(operation_id=STREAMED).get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]
        yield operation


@pytest.mark.parametrize("share", range(SHARES))
def test_the_api_answers_as_it_is_described(world: World, share: int) -> None:
    wrong = {}
    for operation in itertools.islice(operations_of(world), share, None, SHARES):
        try:
            _try_out(operation, world)
        except (FailureGroup, AssertionError) as error:
            wrong[operation.label] = str(error)

    assert wrong == {}


def _try_out(operation: Any, world: World) -> None:
    """Call one operation in many ways, with what its description allows and with what it forbids."""
    modes = list(GenerationMode)

    @settings(
        max_examples=EXAMPLES_MAX,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes)))
    def call(case: Any) -> None:
        _name_what_exists(case, world)
        case.call_and_validate(headers=world.bearer(), checks=list(CHECKS), timeout=SECONDS_MAX)

    call()


def _name_what_exists(case: Any, world: World) -> None:
    """Put real names into every other call."""
    is_its_turn = zlib.crc32(repr((case.path_parameters, case.query, case.body)).encode()) % 2
    if not is_its_turn:
        return
    for place in (case.path_parameters, case.query, case.body):
        _replace(place, world.names())


def _replace(place: Any, names: dict[str, str]) -> None:
    if isinstance(place, dict):
        for name in place.keys() & names.keys():
            place[name] = names[name]
        for content in place.values():
            _replace(content, names)
    elif isinstance(place, list):
        for content in place:
            _replace(content, names)


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 200), ("?last_sequence=0", 200), ("?last_sequence=-1", 400), ("?last_sequence=x", 400), ("?ticket=x", 401)],
)
def test_the_event_stream_answers_as_it_is_described(world: World, query: str, status: int) -> None:
    with httpx.Client(base_url=world.platform.gateway_url, trust_env=False) as http:
        paths = http.get("/schema/openapi.json").json()["paths"]
        with http.stream("GET", f"/api/v1/wallet/events{query}", headers=world.bearer()) as answer:
            described = paths["/api/v1/wallet/events"]["get"]["responses"][str(answer.status_code)]

            assert answer.status_code == status
            assert answer.headers["content-type"].split(";")[0] in described["content"]
