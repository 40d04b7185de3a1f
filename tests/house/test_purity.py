"""Law 7: decision files decide, and do nothing else. Their imports are walked, transitively."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src"
FORBIDDEN = frozenset(
    {"asyncio", "time", "os", "socket", "subprocess", "threading", "logging", "pathlib", "io", "select", "signal", "tempfile"}
)
PURE: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["fleetcast"]["pure"]


def _pure_files() -> list[Path]:
    return sorted(path for pattern in PURE for path in ROOT.glob(pattern))


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """Names of the modules that a file imports at run time, with the line. Those under TYPE_CHECKING do not run."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def _file_of(module: str) -> Path | None:
    """The file of ours that a dotted name lives in; ``None`` when it is not ours."""
    parts = module.split(".")
    if parts[0] != "fleetcast":
        return None
    while parts:
        place = SOURCES.joinpath(*parts)
        if place.with_suffix(".py").is_file():
            return place.with_suffix(".py")
        if (place / "__init__.py").is_file():
            return place / "__init__.py"
        parts.pop()
    raise AssertionError(module)


def _impurities(start: Path) -> Iterator[str]:
    seen, waiting = {start}, [start]
    while waiting:
        path = waiting.pop()
        for module, line in _imports(path):
            ours = _file_of(module)
            if ours is not None:
                if ours not in seen:
                    seen.add(ours)
                    waiting.append(ours)
                continue
            top = module.split(".")[0]
            where = f"{path.relative_to(ROOT)}:{line} imports {module}"
            if top in FORBIDDEN:
                yield where
            elif top not in sys.stdlib_module_names and top != "msgspec":
                yield f"{where} (third party)"


def test_every_pattern_names_files() -> None:
    assert PURE
    for pattern in PURE:
        assert list(ROOT.glob(pattern)), f"pyproject.toml lists {pattern!r} as pure, and no file matches"


@pytest.mark.parametrize("path", _pure_files(), ids=lambda path: str(path.relative_to(SOURCES / "fleetcast")))
def test_a_decision_imports_nothing_that_acts(path: Path) -> None:
    assert list(_impurities(path)) == []


@pytest.mark.parametrize("path", _pure_files(), ids=lambda path: str(path.relative_to(SOURCES / "fleetcast")))
def test_a_decision_draws_from_no_global_random_and_reads_no_clock(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            called = f"{node.value.id}.{node.attr}"
            assert not (node.value.id == "random" and node.attr != "Random"), f"{path}:{node.lineno}: {called}"
            assert called not in {"datetime.now", "datetime.utcnow", "date.today"}, f"{path}:{node.lineno}: {called}"
