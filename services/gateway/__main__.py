"""Runs the gateway: `python -m services.gateway`."""

from services.gateway.settings import GatewaySettings
from services.gateway.wiring import RunningGateway, running
from services.runtime.lifecycle import run_until_signalled
from services.runtime.log import configure_logging
from services.runtime.settings import load_settings


def main() -> None:
    """Run until a signal."""
    settings = load_settings(GatewaySettings)
    configure_logging(level=settings.log_level, log_format=settings.log_format, service="gateway")
    drain_seconds = settings.unready_seconds + settings.drain_seconds_max
    run_until_signalled(running(settings), on_started=_say_where, drain_seconds=drain_seconds)


def _say_where(gateway: RunningGateway) -> None:
    print(f"gateway: {gateway.http_url}", flush=True)


if __name__ == "__main__":
    main()
