"""What orders publishes, for schema registries."""

from typing import Final

from services.orders.outbound.order_events import ORDER_EVENTS_TOPIC
from services.runtime.registry.contract import EventContract
from tradeflow.events.v1.order_event_pb2 import OrderEvent

ORDER_EVENTS: Final = EventContract(topic=ORDER_EVENTS_TOPIC, message=OrderEvent.DESCRIPTOR)
"""The facts about orders."""
