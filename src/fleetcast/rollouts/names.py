"""What a word may be the name of, and which names are like it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.limits import NEAR_CANDIDATES_MAX, NEAR_NAMES_MAX
from fleetcast.model.messages.fleet import Kind, Named, WordMeaning
from fleetcast.schema.tables import deployments, machines, regions, services

_COLUMNS: Final[Sequence[tuple[Kind, Column[Any]]]] = (
    (Kind.SERVICE, services.c.name),
    (Kind.DEPLOYMENT, deployments.c.id),
    (Kind.REGION, regions.c.name),
    (Kind.MACHINE, machines.c.id),
)
_ID_BEGINNING: Final = re.compile(r"[0-9a-f]{4,15}")
_ALIKE: Final = 0.6
"""Of difflib's measure of likeness: one or two letters in a short word."""


async def meaning(reading: AsyncConnection, word: str) -> WordMeaning:
    """Whatever is called ``word``; else the deployments whose id begins so; else what is called nearly so."""
    if not word.isprintable():
        return WordMeaning((), ())
    named = [Named(kind, word) for kind, column in _COLUMNS if await _is_there(reading, column, word)]
    named = named or await _deployments_beginning(reading, word)
    return WordMeaning(tuple(named), () if named else await _near(reading, word, _COLUMNS))


async def service_like(reading: AsyncConnection, word: str) -> str | None:
    """The service whose name is most like ``word``, if there is one that is."""
    near = await _near(reading, word, [(Kind.SERVICE, services.c.name)])
    return near[0].name if near else None


async def _deployments_beginning(reading: AsyncConnection, word: str) -> list[Named]:
    """At most ``NEAR_NAMES_MAX``: of several, each is named, and whoever asked has to say which."""
    if not _ID_BEGINNING.fullmatch(word):
        return []
    ids = select(deployments.c.id).where(deployments.c.id >= word, deployments.c.id < f"{word}g")
    found = await reading.execute(ids.order_by(deployments.c.id).limit(NEAR_NAMES_MAX))
    return [Named(Kind.DEPLOYMENT, each) for each in found.scalars()]


async def _is_there(reading: AsyncConnection, column: Column[Any], word: str) -> bool:
    return (await reading.execute(select(column).where(column == word).limit(1))).first() is not None


async def _near(reading: AsyncConnection, word: str, columns: Sequence[tuple[Kind, Column[Any]]]) -> tuple[Named, ...]:
    """There may be a hundred thousand names: of each kind only those are compared that begin alike, or the first ones."""
    candidates: dict[str, Named] = {}
    for kind, column in columns:
        for name in await _candidates(reading, column, word):
            candidates.setdefault(name, Named(kind, name))
    alike = difflib.get_close_matches(word, candidates, NEAR_NAMES_MAX, _ALIKE)
    begun = sorted(name for name in candidates if word and name.startswith(word))
    names = list(dict.fromkeys([*alike, *begun]))[:NEAR_NAMES_MAX]
    return tuple(candidates[name] for name in names)


async def _candidates(reading: AsyncConnection, column: Column[Any], word: str) -> Iterable[str]:
    for beginning in dict.fromkeys((word[:-1], word[:2], "")):
        alike = select(column).where(column >= beginning, column < f"{beginning}\U0010ffff")
        found = (await reading.execute(alike.order_by(column).limit(NEAR_CANDIDATES_MAX))).scalars().all()
        if found:
            return [str(name) for name in found]
    return ()
