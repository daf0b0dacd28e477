"""The scenes of the story, in their order. Each calls the public API, shows what goes and comes, and checks it."""

import asyncio
import time
from dataclasses import dataclass

from services.embedded.public_api import Order
from services.embedded.story.cast import Cast, Party
from services.embedded.story.stage import Stage
from services.embedded.story.tables import balances_table, order_line, order_table, products_table, statement_table
from services.embedded.story.wallet_watch import WalletWatch
from services.money import Money
from services.runtime.errors import RefusedError
from services.runtime.ids import new_id

CURRENCY = "EUR"
"""All of the story is in one currency."""

DEPOSITED_MINOR = 10_000
"""All the money there is."""

ORDERED_MINOR = 3_700
"""Two loaves and a bowl."""

RETURNED_MINOR = 2_800
"""The bowl."""

SETTLED_SECONDS_MAX = 20.0
"""How long settlement may take; on a quiet machine it is a tenth of a second."""

POLL_SECONDS = 0.05
"""Between two looks at an order."""


class StoryError(Exception):
    """Something came out otherwise than the story says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What every scene works with."""

    stage: Stage
    cast: Cast
    watch: WalletWatch
    run: str
    """Keeps the skus of several demos on one data folder apart."""

    @property
    def bread(self) -> str:
        """The bakery's product."""
        return f"bread-{self.run}"

    @property
    def bowl(self) -> str:
        """The pottery's product."""
        return f"bowl-{self.run}"


def net_of_sale(scene: Scene, party: Party) -> int:
    """Tell what a merchant was paid for the order, by their own live event: the price less the platform's fee."""
    (sale,) = [event for event in scene.watch.events(party.name) if event.kind == "sale_credited"]
    gross, fee, net = (int(sale.fact[name]["amount_minor"]) for name in ("gross", "fee", "net"))
    _expect(net, gross - fee, f"the {party.name}'s pay")
    return net


def _eur(amount_minor: int) -> Money:
    return Money(amount_minor, CURRENCY)


def _expect(actual: object, expected: object, what: str) -> None:
    if actual != expected:
        raise StoryError(f"{what} should be {expected}, and is {actual}")


async def offer_products(scene: Scene) -> None:
    """Let two merchants offer something."""
    await scene.stage.chapter("Two merchants offer their products", "One counts the stock, the other doesn't.")
    scene.stage.request("POST /api/v1/products", {"sku": scene.bread, "price": _eur(450), "stock": 20})
    bread = await scene.cast.bakery.client.create_product(scene.bread, "Sourdough bread", _eur(450), stock=20)
    bowl = await scene.cast.pottery.client.create_product(scene.bowl, "Stoneware bowl", _eur(2_800))
    scene.stage.show(products_table([bread, bowl], scene.cast.sellers))


async def deposit(scene: Scene) -> None:
    """Bring money into the buyer's wallet."""
    buyer = scene.cast.buyer
    await scene.stage.chapter(
        "The treasury deposits 100.00 EUR for the buyer",
        "The buyer's WebSocket shows each event of the wallet, with the balance after it.",
    )
    key = str(new_id())
    scene.stage.request(
        "POST /api/v1/wallet/deposits", {"email": buyer.email, "amount": _eur(DEPOSITED_MINOR)}, key=key
    )
    receipt = await scene.cast.treasury.deposit(buyer.email, _eur(DEPOSITED_MINOR), "demo", idempotency_key=key)
    scene.stage.answer(f"201 journal record {receipt.journal_sequence}")
    again = await scene.cast.treasury.deposit(buyer.email, _eur(DEPOSITED_MINOR), "demo", idempotency_key=key)
    await scene.watch.wait_for(buyer.name, "funds_deposited")
    _expect(again.journal_sequence, receipt.journal_sequence, "the repeated deposit's journal record")
    scene.stage.point("The same call with the same key was sent twice: one deposit, the same answer.")


async def place_order(scene: Scene) -> Order:
    """Order from both merchants, and watch the money being held and paid out."""
    buyer, quantities = scene.cast.buyer, {scene.bread: 2, scene.bowl: 1}
    await scene.stage.chapter(
        "The buyer orders from both merchants",
        "The order becomes durable, the ledger holds the money, the order is confirmed; settlement follows by events.",
    )
    key = str(new_id())
    lines = [{"sku": sku, "quantity": quantity} for sku, quantity in quantities.items()]
    shown = _eur(ORDERED_MINOR)
    scene.stage.request("POST /api/v1/orders", {"lines": lines, "expected_total": shown}, key=key)
    order = await buyer.client.place_order(quantities, expected_total=shown, idempotency_key=key)
    scene.stage.answer(f"201 order {order.order_id} is {order.state}")
    await scene.watch.wait_for(buyer.name, "funds_captured")
    await scene.watch.wait_for(scene.cast.bakery.name, "sale_credited")
    await scene.watch.wait_for(scene.cast.pottery.name, "sale_credited")
    order = await _until(buyer, order, "SETTLED")
    _show_order(scene, order)
    again = await buyer.client.place_order(quantities, expected_total=shown, idempotency_key=key)
    _expect(again.order_id, order.order_id, "the repeated order")
    scene.stage.point("The same POST with the same key again: the same order, nothing held twice.")
    return order


async def show_balances(scene: Scene, title: str, expected_minor: dict[str, int]) -> None:
    """Show all wallets, and check them against what the story says."""
    await scene.stage.chapter(title, "posted = settled, held = set aside for orders, available = what may be spent.")
    balances = {party.name: await party.client.balance(CURRENCY) for party in scene.cast.parties}
    scene.stage.show(balances_table(balances))
    for name, amount_minor in expected_minor.items():
        _expect(balances[name].posted, _eur(amount_minor), f"the {name}'s posted balance")
        _expect(balances[name].pending_outgoing, _eur(0), f"what is held of the {name}'s money")
    fee = _eur(DEPOSITED_MINOR - sum(expected_minor.values()))
    scene.stage.point(f"The platform kept its fee, {fee}: nothing was made, nothing was lost.")


async def refund(scene: Scene, order: Order) -> None:
    """Let a merchant take a line back."""
    pottery, buyer = scene.cast.pottery, scene.cast.buyer
    await scene.stage.chapter(
        "The pottery takes the bowl back", "A seller refunds own lines only; the fee's share comes back with the money."
    )
    key = str(new_id())
    body = {"lines": [{"line_number": 2, "quantity": 1}]}
    scene.stage.request(f"POST /api/v1/orders/{order.order_id}/refunds", body, key=key)
    refunded = await pottery.client.refund(order.order_id, {2: 1}, idempotency_key=key)
    scene.stage.answer(f"201 order {refunded.order_id} is {refunded.state}")
    await scene.watch.wait_for(buyer.name, "refund_credited")
    await scene.watch.wait_for(pottery.name, "refund_debited")
    _show_order(scene, await _until(buyer, order, "PARTIALLY_REFUNDED"))


async def refuse_overdraft(scene: Scene) -> None:
    """Let the buyer order for more than there is."""
    buyer = scene.cast.buyer
    await scene.stage.chapter(
        "The buyer orders for more than there is", "Four bowls cost 112.00 EUR. The ledger decides, and it says no."
    )
    before = await buyer.client.balance(CURRENCY)
    key = str(new_id())
    scene.stage.request("POST /api/v1/orders", {"lines": [{"sku": scene.bowl, "quantity": 4}]}, key=key)
    try:
        await buyer.client.place_order({scene.bowl: 4}, idempotency_key=key)
    except RefusedError as refused:
        scene.stage.refusal(422, {"reason": refused.reason, "detail": refused.message, "details": refused.details})
        _expect(refused.reason, "insufficient_funds", "the refusal's reason")
        rejected = await buyer.client.get_order(refused.details["order_id"])
    else:
        raise StoryError("the ledger held money that isn't there")
    _expect(rejected.state, "REJECTED", "the refused order's state")
    _expect(await buyer.client.balance(CURRENCY), before, "the buyer's balance")
    scene.stage.point(f"The order is {rejected.state}, and the balance is as it was: {before.available} available.")


async def show_statement(scene: Scene) -> None:
    """Show what the ledger has on the buyer."""
    await scene.stage.chapter(
        "The buyer's statement", "Every posting with the balance after it; the journal behind it is chained by hashes."
    )
    page = await scene.cast.buyer.client.statement(CURRENCY)
    scene.stage.show(statement_table(page.items))


def _show_order(scene: Scene, order: Order) -> None:
    scene.stage.answer(order_line(order))
    scene.stage.show(order_table(order, scene.cast.sellers))


async def _until(party: Party, order: Order, state: str) -> Order:
    """Wait until the order has a state.

    Raises:
        StoryError: It hasn't within the bound.
    """
    deadline = time.monotonic() + SETTLED_SECONDS_MAX
    while (current := await party.client.get_order(order.order_id)).state != state:
        if time.monotonic() > deadline:
            raise StoryError(f"the order should be {state} by now, and is {current.state}")
        await asyncio.sleep(POLL_SECONDS)
    return current
