"""The browser is of this machine's own release, or it says why it can't be had."""

from pathlib import Path

import pytest

from tests.parts import chromium
from tests.parts.server import PartUnavailableError


@pytest.mark.parametrize("content", [None, "", 'ID=fedora\nVERSION_CODENAME="forty"\n', "ID=debian\n"])
def test_a_machine_that_is_no_debian_is_told_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "os-release"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr(chromium, "OS_RELEASE", file)

    with pytest.raises(PartUnavailableError, match="chromium: needs Debian"):
        chromium.ChromiumPart().install(tmp_path / "chromium", tmp_path / "log")
