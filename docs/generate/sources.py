"""What is written beside a name in a source file."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence


def documented(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Every annotated name of a module or class with the string below it, empty where there is none."""
    for statement, following in zip(body, (*body[1:], None), strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, _string(following)


def one_line(text: str) -> str:
    """A docstring as it stands in a cell of a table: code in single quotes, nothing that ends the cell."""
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _string(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str):
        return statement.value.value
    return ""
