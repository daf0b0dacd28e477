"""How the services name a SQLite file in their settings."""

from pathlib import Path
from urllib.parse import quote


def sqlite_url(file: Path) -> str:
    """Name a file."""
    return f"sqlite:///{quote(str(file.resolve()))}"
