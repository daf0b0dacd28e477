"""The tables of orders, as Piccolo sees them; the migrations make them.

Piccolo knows one primary key column and no VARBINARY: tables with a composite key name its first column, and texts that
are keys are bytes here. Instants are integers of microseconds.

A table class belongs to one engine. `bind` makes classes of its own for each database, so that several services can
live in one process.
"""

from dataclasses import dataclass
from types import new_class
from typing import Any, TypeVar, cast

from piccolo.columns import UUID, BigInt, Boolean, Bytea, Integer, Text, Varchar
from piccolo.engine.base import Engine
from piccolo.table import Table


class ProductTable(Table, tablename="products"):
    """What is for sale."""

    sku = Bytea(primary_key=True)
    title = Varchar(length=200)
    price_minor = BigInt()
    currency = Varchar(length=16)
    seller_id = UUID()
    stock = BigInt(null=True, default=None)
    created_at = BigInt()
    updated_at = BigInt()


class OrderTable(Table, tablename="orders"):
    """Orders as they are now."""

    order_id = UUID(primary_key=True)
    version = BigInt()
    state = Varchar(length=24)
    buyer_id = UUID()
    capture = Varchar(length=16)
    currency = Varchar(length=16)
    total_minor = BigInt()
    captured_minor = BigInt()
    refunded_minor = BigInt()
    fee_basis_points = Integer()
    rejection_reason = Varchar(length=64)
    rejection_message = Varchar(length=512)
    created_at = BigInt()
    updated_at = BigInt()
    expires_at = BigInt()
    due_at = BigInt(null=True, default=None)
    looks = Integer()


class OrderLineTable(Table, tablename="order_lines"):
    """Their lines; the key is (order_id, line_number)."""

    order_id = UUID(primary_key=True)
    line_number = Integer()
    sku = Bytea()
    title = Varchar(length=200)
    quantity = BigInt()
    unit_price_minor = BigInt()
    seller_id = UUID()
    stock_tracked = Boolean()
    fee_basis_points = Integer(null=True, default=None)
    refunded_quantity = BigInt()
    refunded_minor = BigInt()


class RefundTable(Table, tablename="refunds"):
    """Refunds as they are now."""

    refund_id = UUID(primary_key=True)
    order_id = UUID()
    state = Varchar(length=16)
    capture_number = Integer()
    currency = Varchar(length=16)
    requested_by = UUID()
    rejection_reason = Varchar(length=64)
    rejection_message = Varchar(length=512)
    created_at = BigInt()
    updated_at = BigInt()


class RefundLineTable(Table, tablename="refund_lines"):
    """Their lines; the key is (refund_id, line_number)."""

    refund_id = UUID(primary_key=True)
    line_number = Integer()
    quantity = BigInt()
    amount_minor = BigInt()
    seller_id = UUID()


class IdempotencyKeyTable(Table, tablename="idempotency_keys"):
    """Keys of requests; the key is (user_id, idempotency_key)."""

    user_id = UUID(primary_key=True)
    idempotency_key = Bytea()
    operation = Varchar(length=16)
    fingerprint = Bytea()
    state = Varchar(length=16)
    order_id = UUID()
    refund_id = UUID(null=True, default=None)
    lease_expires_at = BigInt()
    reason = Varchar(length=64)
    message = Varchar(length=512)
    details = Text()
    created_at = BigInt()


class UserTable(Table, tablename="users"):
    """People."""

    user_id = UUID(primary_key=True)
    email = Bytea()
    password_hash = Varchar(length=255, secret=True)
    roles = Varchar(length=64)
    created_at = BigInt()
    generation = BigInt()


class SessionTable(Table, tablename="sessions"):
    """Families of refresh tokens."""

    session_id = UUID(primary_key=True)
    user_id = UUID()
    created_at = BigInt()
    expires_at = BigInt()
    ended_at = BigInt(null=True, default=None)
    ended_by_reuse = Boolean()
    generation = BigInt()


class RefreshTokenTable(Table, tablename="refresh_tokens"):
    """Refresh tokens, by their hashes."""

    token_hash = Bytea(primary_key=True)
    session_id = UUID()
    issued_at = BigInt()
    used_at = BigInt(null=True, default=None)


class RevokedAccessTokenTable(Table, tablename="revoked_access_tokens"):
    """Access tokens that ended before their time."""

    token_id = Bytea(primary_key=True)
    expires_at = BigInt()
    revoked_at = BigInt()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The table classes of one database."""

    products: type[ProductTable]
    orders: type[OrderTable]
    order_lines: type[OrderLineTable]
    refunds: type[RefundTable]
    refund_lines: type[RefundLineTable]
    idempotency_keys: type[IdempotencyKeyTable]
    users: type[UserTable]
    sessions: type[SessionTable]
    refresh_tokens: type[RefreshTokenTable]
    revoked_access_tokens: type[RevokedAccessTokenTable]


TableT = TypeVar("TableT", bound=Table)


def bind(engine: Engine[Any]) -> Tables:
    """Make the table classes of one database."""
    return Tables(
        products=_bound(ProductTable, engine),
        orders=_bound(OrderTable, engine),
        order_lines=_bound(OrderLineTable, engine),
        refunds=_bound(RefundTable, engine),
        refund_lines=_bound(RefundLineTable, engine),
        idempotency_keys=_bound(IdempotencyKeyTable, engine),
        users=_bound(UserTable, engine),
        sessions=_bound(SessionTable, engine),
        refresh_tokens=_bound(RefreshTokenTable, engine),
        revoked_access_tokens=_bound(RevokedAccessTokenTable, engine),
    )


def _bound(table: type[TableT], engine: Engine[Any]) -> type[TableT]:
    bound = new_class(table.__name__, (table,), {"tablename": table._meta.tablename, "db": engine})  # noqa: SLF001 - Piccolo's documented way to a table's name
    return cast("type[TableT]", bound)
