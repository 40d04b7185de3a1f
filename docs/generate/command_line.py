"""``cli.md``: every command, as the command line itself describes it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import reduce

from cyclopts import App, Group

from fleetcast.cli.main import application

HEAD = """# Command line

{about}
`fleetcast COMMAND --help` says the same as this page. Errors are one line; [errors](errors.md) lists them.

"""
SHARED_AT_LEAST = 4
"""Commands that have an option in the same words: it is described once."""
_OPTION = re.compile(r"^\* `([^`]+)`", re.MULTILINE)
_NOISE = re.compile(r" \*\[default: (False|\(\)|None)\]\*|, --(no|empty)-[a-z-]+(?=`)")
_LIST_OF_ONE = re.compile(r"\*\[default: \('([^']*)',\)\]\*")


def page() -> str:
    app = application([])
    groups: dict[str, list[tuple[str, ...]]] = {}
    for name in _commands(app):
        groups.setdefault(_group(app[name]), []).append((name,))
    ordered = sorted(groups, key=lambda title: min(_place(app, path) for path in groups[title]))
    texts = {path: _section(path) for title in ordered for top in groups[title] for path in _with_verbs(app, top)}
    shared = _shared(texts.values())
    parts = [HEAD.format(about=str(app.help).strip() + "\n"), _contents(ordered, groups, app)]
    for title in ordered:
        parts.append(f"## {title}\n\n")
        for top in groups[title]:
            parts += [_without(texts[path], shared) for path in _with_verbs(app, top)]
    parts.append("## Options of many commands\n\n" + "\n".join(shared) + "\n")
    return "".join(parts)


def _group(app: App) -> str:
    """The task that the command is listed under."""
    group = app.group[0] if isinstance(app.group, tuple) else app.group
    return group.name if isinstance(group, Group) else group


def _commands(app: App) -> list[str]:
    return [name for name in app if not name.startswith("-") and app[name].show]


def _place(app: App, path: tuple[str, ...]) -> int:
    return _commands(app).index(path[0])


def _with_verbs(app: App, top: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield top
    yield from ((*top, verb) for verb in _commands(app[top[0]]))


def _contents(ordered: list[str], groups: dict[str, list[tuple[str, ...]]], app: App) -> str:
    lines = []
    for title in ordered:
        links = [
            f"[`{' '.join(path)}`](#fleetcast-{'-'.join(path)})"
            for top in groups[title]
            for path in _with_verbs(app, top)
            if not (len(path) == 1 and _commands(app[path[0]]))
        ]
        lines.append(f"- **{title}**: {', '.join(links)}\n")
    return "".join(lines) + "\n"


def _section(path: tuple[str, ...]) -> str:
    """What the command tells about itself, under a heading of its own; the verbs of a noun are not in it."""
    name = f"fleetcast {' '.join(path)}"
    app = reduce(lambda above, verb: above[verb], path, application(list(path)))
    text = app.generate_docs(output_format="markdown", recursive=False, usage_name=name)
    text = re.split(r"^(\*\*Commands\*\*|## Table of Contents)", text.partition("\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    text = _LIST_OF_ONE.sub(r"*[default: \1]*", _NOISE.sub("", text))
    text = text.replace("```console\n", "```text\n").replace("**Parameters**:\n\n", "")
    return f"### {name}\n\n{_examples(text).strip()}\n\n"


def _examples(text: str) -> str:
    """The paragraph that begins with *For example* as a block, one command a line."""
    paragraphs = text.split("\n\n")
    for index, paragraph in enumerate(paragraphs):
        spans = [" ".join(span.split()) for span in re.findall(r"`(fleetcast [^`]+)`", paragraph)]
        if paragraph.lstrip().startswith("For example") and spans:
            lines = "".join(f"$ {span}\n" for span in spans)
            paragraphs[index] = f"```console example\n{lines}```"
    return "\n\n".join(paragraphs)


def _shared(texts: Iterable[str]) -> list[str]:
    counted = Counter(line for text in texts for line in text.splitlines() if _OPTION.match(line))
    return [line for line, count in counted.items() if count >= SHARED_AT_LEAST and "**[required]**" not in line]


def _without(text: str, shared: list[str]) -> str:
    lines = text.rstrip("\n").splitlines()
    names = [f"`{option[1]}`" for line in lines if line in shared and (option := _OPTION.match(line))]
    kept = "\n".join(line for line in lines if line not in shared).rstrip("\n")
    also = f"\n\nAnd {', '.join(names)}: see [options of many commands](#options-of-many-commands)." if names else ""
    return f"{kept}{also}\n\n"
