"""What the HTTP doors of commerce hand to the use cases."""

from dataclasses import dataclass

from services.orders.domain.terms import Terms
from services.orders.ports import Ledger, Reads, Store
from services.orders.recovery_ports import RecoveryReads
from services.orders.selling_ports import SellingReads
from services.orders.use_cases.placing import Placing
from services.runtime.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Commerce:
    """The parts that wiring made, for the life of the process."""

    store: Store
    placing: Placing
    reads: Reads
    recovery: RecoveryReads
    selling: SellingReads
    ledger: Ledger
    clock: Clock
    terms: Terms
