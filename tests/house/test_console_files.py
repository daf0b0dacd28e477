"""The console's own rules: small modules, no markup made of text, nothing from elsewhere."""

import re
from pathlib import Path

import pytest

CONSOLE = Path(__file__).parents[2] / "services" / "gateway" / "console"
MODULES = sorted(path for path in CONSOLE.glob("js/**/*.js") if path.name != "theme_early.js")
FILES = sorted(path for path in CONSOLE.rglob("*") if path.is_file())
LINES_OF_A_MODULE_MAX = 200


def relative(path: Path) -> str:
    return str(path.relative_to(CONSOLE))


def imports_of(path: Path) -> list[tuple[str, list[str]]]:
    found = re.findall(r'^import \{([^}]+)\} from "([^"]+)";$', path.read_text(), flags=re.MULTILINE)
    return [(address, [name.strip() for name in names.split(",") if name.strip()]) for names, address in found]


def test_there_is_something_to_look_at() -> None:
    assert len(MODULES) > 30


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_says_its_one_idea_and_keeps_to_it(path: Path) -> None:
    text = path.read_text()

    assert re.match(r"/\*\*\s+(?:\* )?@file ", text)
    assert len(text.splitlines()) <= LINES_OF_A_MODULE_MAX


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_imports_what_there_is_and_uses_it(path: Path) -> None:
    text = path.read_text()
    for address, names in imports_of(path):
        imported = (path.parent / address).resolve().read_text()
        for name in names:
            assert re.search(rf"export (?:async )?(?:function|const|class) {name}\b", imported), f"{address}: {name}"
            assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{name} is imported and not used"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_nothing_makes_markup_of_text_or_loads_from_elsewhere(path: Path) -> None:
    text = path.read_text()
    addresses = [
        address for address in re.findall(r"https?://[^\s\"'<)]+", text) if "www.w3.org/2000/svg" not in address
    ]

    assert addresses == []
    assert re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text) is None
    assert " style=" not in text
