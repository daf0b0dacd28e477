"""What the ledger publishes, for schema registries."""

from services.ledger.outbound.wallet_event_encoding import WALLET_EVENTS_TOPIC
from services.runtime.registry.contract import EventContract
from tradeflow.events.v1.wallet_event_pb2 import WalletEvent

WALLET_EVENTS = EventContract(topic=WALLET_EVENTS_TOPIC, message=WalletEvent.DESCRIPTOR)
"""The facts about wallets."""
