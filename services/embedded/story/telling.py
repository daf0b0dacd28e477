"""Tell the story from its beginning to its end."""

import secrets

from rich.panel import Panel

from services.embedded.client import TradeFlowClient
from services.embedded.options import Platform
from services.embedded.public_api import WalletEvent
from services.embedded.story import scenes
from services.embedded.story.cast import Cast, sign_up
from services.embedded.story.stage import Stage
from services.embedded.story.tables import event_line
from services.embedded.story.wallet_watch import WalletWatch


async def tell_story(platform: Platform, stage: Stage) -> None:
    """Play all scenes on a platform.

    Raises:
        StoryError: Something came out otherwise than the story says.
        EventMissingError: A live event did not come.
        TradeFlowError: The platform refused what it should do.
    """
    _introduce(platform, stage)
    watch = WalletWatch(lambda name, event: _show_event(stage, name, event))
    async with TradeFlowClient(platform.gateway_url) as root:
        try:
            await _play(stage, watch, await _sign_up(stage, root, platform, watch))
        finally:
            await watch.stop()


async def _play(stage: Stage, watch: WalletWatch, cast: Cast) -> None:
    scene = scenes.Scene(stage=stage, cast=cast, watch=watch, run=secrets.token_hex(3))
    await scenes.offer_products(scene)
    await scenes.deposit(scene)
    order = await scenes.place_order(scene)
    bakery_minor = scenes.net_of_sale(scene, cast.bakery)
    pottery_minor = scenes.net_of_sale(scene, cast.pottery)
    buyer_minor = scenes.DEPOSITED_MINOR - scenes.ORDERED_MINOR
    await scenes.show_balances(
        scene,
        "Where the money is after settlement",
        {"buyer": buyer_minor, "bakery": bakery_minor, "pottery": pottery_minor},
    )
    await scenes.refund(scene, order)
    await scenes.refuse_overdraft(scene)
    await scenes.show_balances(
        scene,
        "Where the money is in the end",
        {"buyer": buyer_minor + scenes.RETURNED_MINOR, "bakery": bakery_minor, "pottery": 0},
    )
    await scenes.show_statement(scene)


async def _sign_up(stage: Stage, root: TradeFlowClient, platform: Platform, watch: WalletWatch) -> Cast:
    await stage.chapter("A buyer and two merchants sign up", "Passwords are hashed with argon2id, tokens signed RS256.")
    stage.request("POST /auth/register", {"email": "buyer-…@shop.example", "password": "…", "role": "buyer"})
    cast = await sign_up(root, platform)
    for party in cast.parties:
        stage.show(f"{party.name:<8} {party.email:<30} wallet {party.user_id}")
        watch.follow(party.name, party.client)
    stage.point("Each holds a WebSocket to /ws/notifications open: lines with ⚡ are live events as they come.")
    return cast


def _introduce(platform: Platform, stage: Stage) -> None:
    stage.console.print(
        Panel(
            "One order's whole story, through the public API alone: sign-up, money, an order of two sellers, "
            "settlement, live wallets, a refund, a refused overdraft. It ends with the invariants, checked.\n"
            f"The platform runs embedded in this process, for trying out: console {platform.gateway_url}/, data in "
            f"{platform.folder.path}. To stay and look around in the console: tradeflow up.",
            title="TradeFlow",
        )
    )


def _show_event(stage: Stage, name: str, event: WalletEvent) -> None:
    stage.show(event_line(name, event))
