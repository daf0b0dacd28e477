"""Run the ledger alone: `python -m services.ledger`, with settings from the environment."""

import gc

from services.ledger.settings import LedgerSettings
from services.ledger.wiring import RunningLedger, running
from services.runtime.lifecycle import run_until_signalled
from services.runtime.log import configure_logging
from services.runtime.settings import load_settings

YOUNG_OBJECTS_MAX = 50_000
"""How many objects more than were freed bring the garbage collector. A batch makes tens of thousands that live as long
as it does, in no cycles; Python's own 700 looked at them again and again, for 2 to 5 % of the time."""


def main() -> None:
    """Run until a signal; say where the doors are once they are open."""
    settings = load_settings(LedgerSettings)
    gc.set_threshold(YOUNG_OBJECTS_MAX)
    configure_logging(level=settings.log_level, log_format=settings.log_format, service="ledger")
    run_until_signalled(running(settings), on_started=_say_where)


def _say_where(ledger: RunningLedger) -> None:
    # What the start made lives as long as the process: the collector needn't walk it again.
    gc.freeze()
    print(f"ledger: HTTP {ledger.http_url}, gRPC {ledger.grpc_target}", flush=True)


if __name__ == "__main__":
    main()
