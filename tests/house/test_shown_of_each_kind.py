"""tests/operator/README.md says of each kind which test shows what: none is missing, and each is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.operator_crds import definitions

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "operator"
PAGE = FOLDER / "README.md"

VERBS = ("create", "change", "drift", "delete", "adopt", "conflict", "pause", "force", "bad input")

KINDS = sorted(definition["spec"]["names"]["kind"] for definition in definitions())

NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
"""A test, by its file and its name."""


def section_of(kind: str) -> list[tuple[str, str]]:
    """Read the table of a kind: what, and what is said of it."""
    section = PAGE.read_text().partition(f"\n## {kind}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", section, re.MULTILINE)
    return [(what, said) for what, said in rows if what != "what"]


@cache
def names_in(file: Path) -> frozenset[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.parse(file.read_text()).body if isinstance(node, functions))


def test_the_page_has_the_kinds_that_there_are_and_no_other() -> None:
    assert sorted(re.findall(r"^## (\w+)$", PAGE.read_text(), re.MULTILINE)) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_each_of_the_nine_is_shown_of_a_kind_or_said_to_mean_nothing(kind: str) -> None:
    rows = section_of(kind)

    assert tuple(what for what, _ in rows) == VERBS
    assert [what for what, said in rows if not NAMED.search(said) and not said.startswith("means nothing: ")] == []


@pytest.mark.parametrize("kind", KINDS)
def test_each_test_that_is_named_is_there(kind: str) -> None:
    named = [found for _, said in section_of(kind) for found in NAMED.findall(said)]
    places = [(ROOT / file if "/" in file else FOLDER / file, name) for file, name in named]

    assert [f"{file.name}::{name}" for file, name in places if not file.exists() or name not in names_in(file)] == []
    assert all(name.startswith("test_") for _, name in places)
