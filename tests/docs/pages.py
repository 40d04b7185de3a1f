"""What a page of the documentation consists of, for the tests: its fenced blocks, and the commands in them.

Kinds of block, by the word after the fence:

``console``
    A session at a terminal. Lines that begin with ``$ `` are typed (a backslash at the end of a line goes on in the next),
    what follows is their output: a line ``...`` stands for any lines, ``...`` inside a line for anything. ``^C`` as the first
    line is Ctrl-C in the terminal of the newest ``foreground`` command, and its last words follow.
``console foreground``
    A command that goes on in a terminal of its own; what is shown is its output until it is ready.
``console example``
    Commands of the reference, made from the code. They name what is not there, so they are understood, and not run.
``sh``
    Commands whose output is not shown; every line is one.
``sh example``
    Commands for other hosts. A shell understands them; they are not run.
``ini``
    A unit of systemd. It can be read, and the command in it is understood.
``toml``, ``json``, ``python``, and ``sh file``
    A paragraph before it that ends with a name (```fleetcast.toml`:``) makes the block a file, written where the session is.
    Without one: settings, a recipe or a plan are read as Fleetcast would, JSON is parsed, Python is run.
``text``
    A picture, or words. No commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
FENCE: Final = re.compile(r"^( *)```(.*)$")
NAMED: Final = re.compile(r"`([\w~./-]+)`:$")
RECORDING_BEGINS: Final = "<!-- recording of make demo"
"""What stands from there to the end was written by ``make recording``, and nobody types it."""
RECORDING_ENDS: Final = "<!-- end of the recording"
RUN_KINDS: Final = frozenset({"console", "sh", "python"})
KINDS: Final = RUN_KINDS | {"toml", "json", "ini", "text"}
VARIANTS: Final = ("console foreground", "console example", "sh example", "sh file")


@dataclass(frozen=True, slots=True)
class Block:
    page: Path
    line: int
    """Of the opening fence, from 1."""
    kind: str
    """``recording`` for that one."""
    variant: str
    """What follows the kind: ``foreground``, ``example``, ``file`` or nothing."""
    file: str | None
    """The name under which a reader saves it."""
    lines: tuple[str, ...]

    @property
    def runs(self) -> bool:
        """Whether somebody who does what the page says would do something here."""
        return self.kind in RUN_KINDS and self.variant != "example"

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


@dataclass(frozen=True, slots=True)
class Command:
    """Something typed, and the lines that are shown below it; ``shown`` is ``None`` where output is not shown at all."""

    place: str
    text: str
    shown: tuple[str, ...] | None


def blocks(page: Path) -> tuple[Block, ...]:
    """All fenced blocks of a page. Raises :class:`ValueError` for one that is never closed, or of an unknown kind."""
    return tuple(_blocks(page, page.read_text(encoding="utf-8").splitlines()))


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """The lines outside of fenced blocks, with their numbers."""
    inside = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if FENCE.match(line):
            inside = not inside
        elif not inside:
            yield number, line


def commands(block: Block) -> tuple[Command, ...]:
    """What is typed in a ``console`` or ``sh`` block. Raises :class:`ValueError` where output stands before any command."""
    found: list[Command] = []
    lines = iter(enumerate(block.lines, block.line + 1))
    for number, line in lines:
        place = f"{block.page.name}:{number}"
        if block.kind == "sh":
            if line.strip() and not line.startswith("#"):
                found.append(Command(place, _continued(line, lines), None))
        elif line.startswith("$ "):
            found.append(Command(place, _continued(line[2:], lines), ()))
        elif line.startswith("^C") and not found:
            rest = line.removeprefix("^C")
            found.append(Command(place, "^C", (rest,) if rest else ()))
        elif found:
            found[-1] = Command(found[-1].place, found[-1].text, (*(found[-1].shown or ()), line))
        else:
            raise ValueError(f"{place}: a console block begins with a command: $ ...")
    return tuple(found)


def _continued(line: str, rest: Iterator[tuple[int, str]]) -> str:
    while line.endswith("\\"):
        _, more = next(rest)
        line = f"{line}\n{more}"
    return line


def _blocks(page: Path, lines: list[str]) -> Iterator[Block]:
    opened: tuple[int, str, list[str], int] | None = None
    before, recording = "", False
    for number, line in enumerate(lines, 1):
        fence = FENCE.match(line)
        if opened is None:
            if fence:
                opened = (number, fence[2].strip(), [], len(fence[1]))
            elif line.strip():
                before = line.strip()
                recording = before.startswith(RECORDING_BEGINS) or (recording and not before.startswith(RECORDING_ENDS))
        elif fence and not fence[2].strip():
            start, words, inside, _ = opened
            if recording:
                yield Block(page, start, "recording", "", None, tuple(inside))
            else:
                yield _block(page, start, words, tuple(inside), before)
            opened, before = None, ""
        else:
            opened[2].append(line[opened[3] :] if not line[: opened[3]].strip() else line)
    if opened is not None:
        raise ValueError(f"{page.name}:{opened[0]}: this block is never closed")


def _block(page: Path, line: int, words: str, lines: tuple[str, ...], before: str) -> Block:
    kind, _, more = words.partition(" ")
    if kind not in KINDS or (more and words not in VARIANTS):
        raise ValueError(f"{page.name}:{line}: no test knows what to do with a block of kind {words!r}: see {__file__}")
    named = NAMED.search(before) if kind not in ("console", "sh") or more == "file" else None
    return Block(page, line, kind, more, named[1] if named else None, lines)
