"""Who takes part in the story."""

import secrets
from dataclasses import dataclass
from uuid import UUID

from services.embedded.client import TradeFlowClient
from services.embedded.data_folder import TREASURY_EMAIL
from services.embedded.options import Platform

PASSWORD_BYTES = 12
"""The demo's users are made anew each time, with passwords that nobody keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Somebody who signed up, and speaks to the gateway as themselves."""

    name: str
    email: str
    user_id: UUID
    client: TradeFlowClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Everybody in the story."""

    buyer: Party
    bakery: Party
    pottery: Party
    treasury: TradeFlowClient

    @property
    def parties(self) -> tuple[Party, ...]:
        """Those who have a wallet."""
        return (self.buyer, self.bakery, self.pottery)

    @property
    def sellers(self) -> dict[str, str]:
        """The merchants' names by user id."""
        return {str(party.user_id): party.name for party in (self.bakery, self.pottery)}


async def sign_up(root: TradeFlowClient, platform: Platform) -> Cast:
    """Register the buyer and the merchants, and sign everybody in."""
    run = secrets.token_hex(3)
    treasury = root.another()
    await treasury.login(TREASURY_EMAIL, platform.secrets.treasury_password)
    return Cast(
        buyer=await _party(root.another(), "buyer", run, "buyer"),
        bakery=await _party(root.another(), "bakery", run, "merchant"),
        pottery=await _party(root.another(), "pottery", run, "merchant"),
        treasury=treasury,
    )


async def _party(client: TradeFlowClient, name: str, run: str, role: str) -> Party:
    """Register one party; `run` keeps apart the parties of several demos on one data folder."""
    email, password = f"{name}-{run}@shop.example", secrets.token_urlsafe(PASSWORD_BYTES)
    user = await client.register(email, password, role)
    await client.login(email, password)
    return Party(name=name, email=email, user_id=user.user_id, client=client)
