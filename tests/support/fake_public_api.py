"""The public API in memory, as far as a shop needs it, with faults on demand.

It answers real HTTP requests of the real client. Its money is a dict: enough to see whether anything happened twice.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx

NOW = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
GONE = {"EXPIRED", "CANCELLED", "REJECTED"}
Json = dict[str, Any]


class KilledError(Exception):
    """The replay's process ended here."""


@dataclass
class Faults:
    """What goes wrong, by the number of the call, from 1."""

    killed_before: set[int] = field(default_factory=set)
    killed_after: set[int] = field(default_factory=set)
    lost_answers: set[int] = field(default_factory=set)
    refusals: dict[int, tuple[int, str]] = field(default_factory=dict)
    """A status and a reason, instead of doing anything."""
    next_orders_refused: list[str] = field(default_factory=list)
    """Reasons for which the next orders are refused for good."""
    next_deposits_refused: list[str] = field(default_factory=list)
    """The same of deposits."""
    prices_at_placing: dict[int, tuple[str, int]] = field(default_factory=dict)
    """By the number of a placing, from 1: a sku and the price that it has just got."""


@dataclass
class ApiProblemError(Exception):
    status: int
    reason: str


@dataclass
class FakePublicApi:
    """A platform; give `client()` to what is to be tried out."""

    faults: Faults = field(default_factory=Faults)
    reads_to_settle: int = 1
    calls: int = 0
    placings: int = 0
    users: dict[str, Json] = field(default_factory=dict)
    tokens: dict[str, Json] = field(default_factory=dict)
    products: dict[str, Json] = field(default_factory=dict)
    orders: dict[UUID, Json] = field(default_factory=dict)
    keys: dict[tuple[UUID, str], tuple[object, Callable[[], Json]]] = field(default_factory=dict)
    balances: dict[UUID, int] = field(default_factory=lambda: defaultdict(int))
    deposited: dict[UUID, int] = field(default_factory=lambda: defaultdict(int))
    logins: list[str] = field(default_factory=list)
    tokens_made: Iterator[int] = field(default_factory=itertools.count)

    def http(self) -> httpx.AsyncClient:
        """Give connections to this platform."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self.answer))

    def add_user(self, email: str, password: str, role: str) -> Json:
        """Make a user, as the bootstrap settings do."""
        user = {"user_id": uuid4(), "email": email, "password": password, "roles": [role], "created_at": NOW}
        self.users[email] = user
        return user

    def user_of(self, email: str) -> UUID:
        """Tell a user's id."""
        user_id: UUID = self.users[email]["user_id"]
        return user_id

    def states(self) -> set[str]:
        """Tell in which states there are orders."""
        return {order["state"] for order in self.orders.values()}

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, or fail as told to."""
        self.calls += 1
        call = self.calls
        if call in self.faults.killed_before:
            raise KilledError(f"before call {call}")
        if call in self.faults.refusals:
            return problem(*self.faults.refusals[call])
        try:
            body = self._route(request)
        except ApiProblemError as error:
            return problem(error.status, error.reason)
        if call in self.faults.killed_after:
            raise KilledError(f"after call {call}")
        if call in self.faults.lost_answers:
            raise httpx.ReadError(f"answer {call} was lost")
        return httpx.Response(200, json=json.loads(json.dumps(body, default=str)))

    def _route(self, request: httpx.Request) -> Json:  # noqa: C901, PLR0911  the routes are one list
        path, body = request.url.path, json.loads(request.content or b"{}")
        match request.method, *path.removeprefix("/api/v1").strip("/").split("/"):
            case "POST", "auth", "register":
                return self._register(body)
            case "POST", "auth", "login":
                return self._login(body)
            case "GET", "products":
                return page(sorted(self.products.values(), key=lambda product: str(product["sku"])), request)
            case "GET", "products", sku:
                return self.products[sku]
            case "POST", "products":
                return self._offer(self._user(request), body)
            case "GET", "wallet", "balance":
                return self._balance(self._user(request)["user_id"])
            case "POST", "wallet", "deposits":
                return self._once(request, body, self._deposit)
            case "GET", "orders":
                orders = sorted(self.orders.values(), key=lambda order: str(order["order_id"]))
                return page([self._seen(order) for order in orders], request)
            case "GET", "orders", order_id:
                return self._seen(self.orders[UUID(order_id)])
            case "POST", "orders":
                return self._once(request, body, self._place)
            case "POST", "orders", order_id, "refunds":
                return self._once(request, {**body, "order_id": order_id}, self._refund)
        raise ApiProblemError(404, "route_not_found")

    def _user(self, request: httpx.Request) -> Json:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            raise ApiProblemError(401, "token_missing")
        return self.tokens[token]

    def _once(self, request: httpx.Request, body: Json, do: Callable[[Json, Json], Callable[[], Json]]) -> Json:
        """One key, one effect, one answer."""
        user = self._user(request)
        key = (user["user_id"], request.headers["Idempotency-Key"])
        if key not in self.keys:
            self.keys[key] = (body, do(user, body))
        content, answer = self.keys[key]
        if content != body:
            raise ApiProblemError(422, "idempotency_key_reused")
        return answer()

    def _register(self, body: Json) -> Json:
        if body["email"] in self.users:
            raise ApiProblemError(409, "email_taken")
        return self.add_user(body["email"], body["password"], body["role"])

    def _login(self, body: Json) -> Json:
        self.logins.append(body["email"])
        user = self.users.get(body["email"])
        if user is None or user["password"] != body["password"]:
            raise ApiProblemError(401, "bad_credentials")
        token = f"token-{next(self.tokens_made)}"
        self.tokens[token] = user
        return {"access_token": token, "refresh_token": "r", "token_type": "Bearer", "expires_in": 600}

    def _offer(self, user: Json, body: Json) -> Json:
        if body["sku"] in self.products:
            raise ApiProblemError(409, "sku_taken")
        product = {**body, "seller_id": user["user_id"], "created_at": NOW, "updated_at": NOW}
        self.products[body["sku"]] = product
        return product

    def _balance(self, user_id: UUID) -> Json:
        amount, zero = money(self.balances[user_id]), money(0)
        return {
            "wallet_id": user_id,
            "currency": "GBP",
            "posted": amount,
            "pending_outgoing": zero,
            "available": amount,
            "overdraft_limit": zero,
            "account_sequence": 0,
        }

    def _deposit(self, _user: Json, body: Json) -> Callable[[], Json]:
        if self.faults.next_deposits_refused:
            return refused(self.faults.next_deposits_refused.pop())
        wallet_id, amount = self.user_of(body["email"]), body["amount"]
        self.balances[wallet_id] += amount["amount_minor"]
        self.deposited[wallet_id] += amount["amount_minor"]
        receipt = {"wallet_id": wallet_id, "amount": amount, "journal_sequence": 1, "recorded_at": NOW}
        return lambda: {**receipt, "replayed": False}

    def _place(self, user: Json, body: Json) -> Callable[[], Json]:
        self.placings += 1
        if change := self.faults.prices_at_placing.get(self.placings):
            self.products[change[0]]["price"] = money(change[1])
        if self.faults.next_orders_refused:
            return refused(self.faults.next_orders_refused.pop())
        lines = [self._line(number, wish) for number, wish in enumerate(body["lines"], start=1)]
        total = sum(line["total"]["amount_minor"] for line in lines)
        if body.get("expected_total") not in (None, money(total)):
            return refused("total_changed")
        if self.balances[user["user_id"]] < total:
            return refused("insufficient_funds")
        self.balances[user["user_id"]] -= total
        order = {
            "order_id": uuid4(),
            "state": "CONFIRMED",
            "buyer_id": user["user_id"],
            "capture": "automatic",
            "total": money(total),
            "captured": money(0),
            "refunded": money(0),
            "lines": lines,
            "rejection": None,
            "created_at": NOW,
            "updated_at": NOW,
            "reads": 0,
        }
        self.orders[order["order_id"]] = order
        return lambda: order

    def _line(self, number: int, wish: Json) -> Json:
        product = self.products[wish["sku"]]
        return {
            "line_number": number,
            "sku": wish["sku"],
            "title": product["title"],
            "quantity": wish["quantity"],
            "unit_price": product["price"],
            "total": money(product["price"]["amount_minor"] * wish["quantity"]),
            "seller_id": product["seller_id"],
            "refunded_quantity": 0,
        }

    def _seen(self, order: Json) -> Json:
        """Settle an order once it was read often enough."""
        order["reads"] += 1
        if order["state"] == "CONFIRMED" and order["reads"] > self.reads_to_settle:
            order["state"], order["captured"] = "SETTLED", order["total"]
        return order

    def _refund(self, _user: Json, body: Json) -> Callable[[], Json]:
        order = self.orders[UUID(body["order_id"])]
        if order["state"] not in {"SETTLED", "PARTIALLY_REFUNDED"}:
            return refused("illegal_transition")
        lines = {line["line_number"]: line for line in order["lines"]}
        wanted = [(lines[wish["line_number"]], wish["quantity"]) for wish in body["lines"]]
        if any(line["refunded_quantity"] + quantity > line["quantity"] for line, quantity in wanted):
            return refused("exceeds_captured")
        for line, quantity in wanted:
            line["refunded_quantity"] += quantity
            back = quantity * line["unit_price"]["amount_minor"]
            order["refunded"] = money(order["refunded"]["amount_minor"] + back)
            self.balances[order["buyer_id"]] += back
        order["state"] = "REFUNDED" if order["refunded"] == order["captured"] else "PARTIALLY_REFUNDED"
        return lambda: order


def money(amount_minor: int) -> Json:
    return {"amount_minor": amount_minor, "currency": "GBP"}


def page(items: list[Json], request: httpx.Request) -> Json:
    """Give two items at a time, so that every list has several pages."""
    start = int(request.url.params.get("cursor", "0"))
    return {"items": items[start : start + 2], "next_cursor": str(start + 2) if start + 2 < len(items) else None}


def problem(status: int, reason: str) -> httpx.Response:
    body = {"type": f"urn:tradeflow:problem:{reason}", "title": reason, "status": status, "detail": reason}
    return httpx.Response(status, json={**body, "reason": reason}, headers={"Retry-After": "0"})


def refused(reason: str) -> Callable[[], Json]:
    """Give the same refusal again and again."""

    def refuse() -> Json:
        raise ApiProblemError(422, reason)

    return refuse
