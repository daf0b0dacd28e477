"""The project's own rules about its shape, which no linter knows."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES_OF_A_MODULE_MAX = 400
LINES_OF_A_FUNCTION_MAX = 60
MODULES = sorted(path for room in ("services", "operator") for path in ROOT.glob(f"{room}/**/*.py"))
PURE = [
    path
    for path in MODULES
    if path.match("*/domain/*.py") or path.match("ledger/commands/*.py") or path.name == "money.py"
]
SECRET_FIELD = re.compile(r"(.+_)?(password|secret|token|private_key)")
SECRET_TYPES = {"str", "bytes", "str | None", "bytes | None"}
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "charts/*/*.md", *(f"{room}/**/*.md" for room in ("docs", "operator", "services", "tests")))
    for path in ROOT.glob(pattern)
)

TYPED_TESTS = sorted(
    {
        shlex.join(word for word in shlex.split(command) if word != "-s")
        for path in (*DOCUMENTS, *ROOT.glob("tests/**/test_*.py"))
        for command in re.findall(r"`(?:[A-Z_]+=\S+ )?\.venv/bin/pytest ([^`]+)`", path.read_text())
    }
)
"""What documents and tests tell to type, behind the program's name."""


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def headings(path: Path) -> set[str]:
    """List a document's headings as addresses have them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_there_is_something_to_look_at() -> None:
    assert len(MODULES) > 50
    assert PURE
    assert len(TYPED_TESTS) > 7
    assert {path.parent.name for path in DOCUMENTS} >= {ROOT.name, "runbooks", "platform", "ledger", "mysql", "parts"}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_holds_one_idea(path: Path) -> None:
    lines = len(path.read_text().splitlines())

    assert lines <= LINES_OF_A_MODULE_MAX


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_function_fits_a_screen(path: Path) -> None:
    # From the first line of the body: a command's signature lists its options, and is long where those are many.
    lines = [(node.name, (node.end_lineno or 0) - node.body[0].lineno + 1) for node in functions(path)]

    assert [name for name, count in lines if count > LINES_OF_A_FUNCTION_MAX] == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_is_named_for_what_it_does(path: Path) -> None:
    assert path.name not in {"utils.py", "util.py", "helpers.py", "manager.py", "service.py", "common.py", "misc.py"}


@pytest.mark.parametrize("path", PURE, ids=relative)
def test_no_rule_about_money_uses_a_float(path: Path) -> None:
    tree = ast.parse(path.read_text())
    floats = [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, float)
    ]
    names = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "float"]
    divisions = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
    ]

    assert not floats + names + divisions


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_value_is_shown_without_the_secret_in_it(path: Path) -> None:
    shown = [
        f"{kind.name}.{field.target.id}"
        for kind in ast.walk(ast.parse(path.read_text()))
        if isinstance(kind, ast.ClassDef) and any("dataclass" in ast.unparse(each) for each in kind.decorator_list)
        for field in kind.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if SECRET_FIELD.fullmatch(field.target.id) and ast.unparse(field.annotation) in SECRET_TYPES
        if field.value is None or "repr=False" not in ast.unparse(field.value)
    ]

    assert shown == []


def test_the_operator_folder_never_becomes_a_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists(), "it would shadow the standard library's operator module"


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_each_link_of_a_document_leads_somewhere(path: Path) -> None:
    links = [link.partition("#") for link in re.findall(r"\]\((?!https?:)([^)]+)", path.read_text())]
    places = [((path.parent / file if file else path), heading) for file, _, heading in links]

    assert [str(place) for place, _ in places if not place.exists()] == []
    assert [heading for place, heading in places if heading and heading not in headings(place)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_each_make_command_of_a_document_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", path.read_text()))

    assert named <= targets


@pytest.mark.ci
@pytest.mark.parametrize("typed", TYPED_TESTS)
def test_there_are_tests_where_people_are_told_to_run_some(typed: str) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", *shlex.split(typed), "--collect-only", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert listed.returncode == 0, listed.stdout[-500:] + listed.stderr


def test_each_place_of_the_map_exists() -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / "services" / "__init__.py").read_text())) or ""
    places = re.findall(r"\b((?:gateway|orders|ledger|runtime)/[a-z_/.]+)", docstring)

    assert len(places) > 10
    assert [place for place in places if not (ROOT / "services" / place).exists()] == []


def test_each_ignored_rule_of_the_linter_has_its_reason() -> None:
    lint = (ROOT / "pyproject.toml").read_text().split("[tool.ruff.lint]")[1].split("[tool.ruff.lint.pydocstyle]")[0]
    codes = [line for line in lint.splitlines() if re.match(r'\s+"[A-Z]+\d+"', line)]

    assert codes
    assert [line for line in codes if "#" not in line] == []


def test_each_target_of_the_makefile_is_three_lines_or_fewer() -> None:
    recipes = re.findall(r"^[a-z./-]+:[^=\n]*\n((?:\t.*\n)*)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)

    assert len(recipes) > 10
    assert max(recipe.count("\n") for recipe in recipes) <= 3
