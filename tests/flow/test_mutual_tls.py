"""The services with TLS between them, on both sides."""

from pathlib import Path

import pytest

from services.embedded.redis_server import serving_redis
from tests.support.certificates import Authority
from tests.support.platform import assert_invariants_hold
from tests.support.public_shop import eur, public_shop, until_state
from tests.support.service_processes import service_processes


def settings_of(authority: Authority) -> dict[str, str]:
    """Give doors and callers their certificates, and let doors ask for them."""
    settings = {}
    for service, sides in {"LEDGER": ("SERVER",), "ORDERS": ("SERVER", "CLIENT"), "GATEWAY": ("CLIENT",)}.items():
        certificate_file, key_file = authority.issue(service.lower())
        for side in sides:
            prefix = f"TRADEFLOW_{service}_GRPC_{side}"
            settings[f"{prefix}_CERTIFICATE_FILE"] = str(certificate_file)
            settings[f"{prefix}_KEY_FILE"] = str(key_file)
            settings[f"{prefix}_{'CLIENT_CA' if side == 'SERVER' else 'CA'}_FILE"] = str(authority.ca_file)
    return settings


@pytest.mark.ci
@pytest.mark.timeout(120)
async def test_an_order_settles_when_services_show_each_other_certificates(tmp_path: Path) -> None:
    settings = settings_of(Authority(tmp_path / "certificates"))
    async with serving_redis() as redis_url:
        with service_processes(tmp_path / "data", redis_url, settings=settings) as processes:
            await processes.start()
            async with public_shop(processes.gateway_url, processes.data) as shop:
                buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
                sku = await shop.product(seller, price_minor=1_000)
                await until_state(buyer, await buyer.client.place_order({sku: 2}), "SETTLED")

                assert (await buyer.balance()).posted == eur(3_000)
    await assert_invariants_hold(tmp_path / "data")
