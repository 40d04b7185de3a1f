"""House numbers and names: what a reader may rely on in every file."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "fleetcast"
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
SHAPELESS = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}

SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "lab").rglob("*.py"), *(ROOT / "bench").rglob("*.py")])
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_a_file_is_one_room(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= FILE_LINES_MAX, "a file that grows a second purpose is split"
    assert not SHAPELESS & set(path.relative_to(ROOT).with_suffix("").parts), "name it after what it does"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name} is {length} lines long"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_a_file_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "every module opens with a docstring"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_nothing_is_left_half_done(path: Path) -> None:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", line), f"line {number}: {line.strip()}"
        silenced = re.search(r"#\s*(type: ignore|noqa)\b(.*)", line)
        assert silenced is None or " -- " in silenced[2] or "#" in silenced[2], f"line {number}: say why the check is silenced"


def test_no_registry_is_named() -> None:
    hosts = re.compile(r"pypi\.org|pythonhosted|registry\.npmjs|deb\.debian|--index-url|--extra-index")
    for name in TRACKED:
        path = ROOT / name
        if path.suffix in {".png", ".svg"} or not path.is_file() or path == Path(__file__):
            continue
        found = hosts.search(path.read_text(errors="replace"))
        assert found is None, f"{name} names {found[0] if found else ''}"


def test_every_decision_is_linked_from_the_list() -> None:
    listed = (ROOT / "decisions" / "README.md").read_text()
    for path in sorted((ROOT / "decisions").glob("[0-9]*.md")):
        assert path.name in listed, f"decisions/README.md does not list {path.name}"


def test_the_map_names_every_room() -> None:
    architecture = (ROOT / "ARCHITECTURE.md").read_text()
    for room in sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()):
        assert f"`{room}/`" in architecture, f"ARCHITECTURE.md does not say what {room}/ is for"
