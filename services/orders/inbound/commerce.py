"""What the HTTP doors of commerce hand to the use cases."""

from dataclasses import dataclass

from services.orders.domain.terms import Terms
from services.orders.ports import Ledger, Reads, Store
from services.runtime.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Commerce:
    """The parts that wiring made, for the life of the process."""

    store: Store
    reads: Reads
    ledger: Ledger
    clock: Clock
    terms: Terms
