"""One orders process: `python -m services.orders`."""

from services.orders.settings import OrdersSettings
from services.orders.wiring import RunningOrders, running
from services.runtime.lifecycle import run_until_signalled
from services.runtime.log import configure_logging
from services.runtime.settings import load_settings


def main() -> None:
    """Read the settings and run until a signal."""
    settings = load_settings(OrdersSettings)
    configure_logging(level=settings.log_level, log_format=settings.log_format, service="orders")
    run_until_signalled(running(settings), on_started=_say_where, drain_seconds=settings.unready_seconds)


def _say_where(orders: RunningOrders) -> None:
    print(f"orders listens on {orders.http_url} and gRPC {orders.grpc_target}", flush=True)


if __name__ == "__main__":
    main()
