"""The outbox: events leave with the state they tell of, or not at all.

A service writes its events in the transaction that changes the state (`outbox_events`), and wakes the relay that
publishes them (`outbox_relay`).
"""

from services.runtime.outbox_events import (
    OutboxEvent,
    StoredEvent,
    append,
    append_numbered,
    read_by_key,
)
from services.runtime.outbox_relay import OutboxRelay, RelayMetrics, RelaySettings

__all__ = [
    "OutboxEvent",
    "OutboxRelay",
    "RelayMetrics",
    "RelaySettings",
    "StoredEvent",
    "append",
    "append_numbered",
    "read_by_key",
]
