"""Run the ledger alone: `python -m services.ledger`, with settings from the environment."""

from services.ledger.settings import LedgerSettings
from services.ledger.wiring import RunningLedger, running
from services.runtime.lifecycle import run_until_signalled
from services.runtime.log import configure_logging
from services.runtime.settings import load_settings


def main() -> None:
    """Run until a signal; say where the doors are once they are open."""
    settings = load_settings(LedgerSettings)
    configure_logging(level=settings.log_level, log_format=settings.log_format, service="ledger")
    run_until_signalled(running(settings), on_started=_say_where, drain_seconds=settings.unready_seconds)


def _say_where(ledger: RunningLedger) -> None:
    print(f"ledger: HTTP {ledger.http_url}, gRPC {ledger.grpc_target}", flush=True)


if __name__ == "__main__":
    main()
