"""Every kind of caller of the services' doors, as tokens that the platform's own key signs, or doesn't."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from uuid import uuid4

from tests.support.tokens import TokenForge

USERS: Final = ("buyer", "merchant", "treasury", "operator")
"""People, each with this one role."""

REFUSED: Final = ("nobody", "expired", "another key's", "another issuer's", "another audience's")
"""Whose tokens are good nowhere; the last three claim every role."""

SERVICES: Final = {
    "gateway for orders": ("gateway", "orders"),
    "gateway for the ledger": ("gateway", "ledger"),
    "orders for orders": ("orders", "orders"),
    "orders for the ledger": ("orders", "ledger"),
    "orders for the gateway": ("orders", "gateway"),
    "treasury for the ledger": ("treasury", "ledger"),
    "stranger for orders": ("stranger", "orders"),
    "stranger for the ledger": ("stranger", "ledger"),
}
"""Services: client id and audience."""


def tokens_of_callers(keys_folder: Path) -> Mapping[str, str | None]:
    """Make the token of each caller; who is nobody has none."""
    forge, all_roles = TokenForge(keys_folder, str(uuid4())), [*USERS, "service"]
    return {
        "nobody": None,
        "expired": forge.expired(),
        "another key's": forge.of_another_key(),
        "another issuer's": forge.signed(iss="https://somebody.else", roles=all_roles),
        "another audience's": forge.signed(aud="somebody-else", roles=all_roles),
        **{role: forge.signed(roles=[role]) for role in USERS},
        **{
            name: forge.signed(sub=client_id, aud=audience, roles=["service"])
            for name, (client_id, audience) in SERVICES.items()
        },
    }
