"""What the sources say of a message and its fields, as Markdown: for those who do not read the sources."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from itertools import pairwise
from typing import Any, Final

import msgspec

_ROLE: Final = re.compile(r":\w+:`~?(?:\w+\.)*(\w+)`")


def markdown(text: str) -> str:
    """A docstring without what only Sphinx reads."""
    return _ROLE.sub(r"`\1`", inspect.cleandoc(text)).replace("``", "`").replace("`None`", "`null`")


def fields_of(kind: type) -> dict[str, str]:
    """The text below each field of a dataclass as Markdown, by the field's name; fields without one are left out."""
    return {field: markdown(text) for field, text in below_fields(kind).items()}


def below_fields(kind: type) -> dict[str, str]:
    """The same as it stands in the source, also of fields that it has from another dataclass."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if is_dataclass(each):
            found |= _below_own_fields(each)
    return found


def _below_own_fields(kind: type) -> dict[str, str]:
    try:
        (definition,) = ast.parse(inspect.cleandoc(inspect.getsource(kind))).body
    except OSError:  # installed without its sources
        return {}
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for one, next_one in pairwise(definition.body):
        match one, next_one:
            case ast.AnnAssign(target=ast.Name(id=field)), ast.Expr(value=ast.Constant(value=str(text))):
                found[field] = text
    return found


def dataclasses_in(kinds: Sequence[Any]) -> dict[str, type]:
    """The dataclasses that these types consist of, however deep, by name."""
    found: dict[str, type] = {}
    waiting: list[object] = list(msgspec.inspect.multi_type_info(kinds))
    while waiting:
        node = waiting.pop()
        if isinstance(node, msgspec.inspect.DataclassType):
            if node.cls.__name__ in found:
                continue
            found[node.cls.__name__] = node.cls
        waiting += _parts(node)
    return found


def _parts(node: object) -> Iterator[object]:
    for name in getattr(node, "__struct_fields__", ()):
        part = getattr(node, name)
        if isinstance(part, tuple):
            yield from part
        elif isinstance(part, msgspec.inspect.Type | msgspec.inspect.Field):
            yield part
