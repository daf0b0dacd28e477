"""Which TradeFlow this is, for logs, metrics and whoever asks."""

from importlib.metadata import PackageNotFoundError, version


def _installed_version() -> str:
    try:
        return version("tradeflow")
    except PackageNotFoundError:
        return "unknown"


VERSION = _installed_version()
"""The installed version; `unknown` where the sources run without having been installed."""
