"""The outbox: events leave with the state they tell of, or not at all.

A service writes its events in the transaction that changes the state (`outbox_events`), many to a row (`outbox_packs`),
and wakes the relay that publishes them (`outbox_relay`). Those of one key can be read again (`outbox_history`).
"""

from services.runtime.outbox_events import append, append_numbered
from services.runtime.outbox_history import HISTORY_EVENTS_MAX, KeyHistory, read_by_key
from services.runtime.outbox_packs import DamagedPackError, OutboxEvent, Pack, read_packs
from services.runtime.outbox_relay import OutboxRelay, RelayMetrics, RelaySettings

__all__ = [
    "HISTORY_EVENTS_MAX",
    "DamagedPackError",
    "KeyHistory",
    "OutboxEvent",
    "OutboxRelay",
    "Pack",
    "RelayMetrics",
    "RelaySettings",
    "append",
    "append_numbered",
    "read_by_key",
    "read_packs",
]
