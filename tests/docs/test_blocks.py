"""What stands on the pages beside what is run: every block is of a kind that some test looks at, and what is named exists."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest
from cyclopts import App

from fleetcast.cli.main import application
from fleetcast.cli.plans import policy_of
from fleetcast.launch.sources import SECTIONS, load
from fleetcast.worker.recipe import parse_recipe

from .pages import KINDS, PAGES, ROOT, Block, blocks, commands, prose

CODE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SUBSTITUTION = re.compile(r"\$\([^)]*\)")


EVERY_BLOCK = [block for page in PAGES for block in blocks(page)]


@pytest.mark.parametrize("block", [block for block in EVERY_BLOCK if not block.runs], ids=lambda block: block.place)
def test_what_is_not_run_is_right_all_the_same(block: Block, tmp_path: Path) -> None:
    match block.kind:
        case "toml":
            tables = tomllib.loads(block.text)
            if tables.keys() <= SECTIONS.keys():
                (tmp_path / "settings.toml").write_text(block.text)
                load(tmp_path / "settings.toml", environ={})
            elif tables.keys() & {"stages", "freezes"}:
                (tmp_path / "rollout.toml").write_text(block.text)
                policy_of(str(tmp_path / "rollout.toml"))
            else:
                parse_recipe(block.text.encode())
        case "json":
            json.loads(block.text)
        case "text":
            assert not [line for line in block.lines if line.startswith("$ ")], "a command that nobody runs: use console"
        case "sh":
            subprocess.run(["/bin/sh", "-n", "-c", block.text], check=True)
        case "ini":
            unit = configparser.ConfigParser()
            unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd tells capitals apart
            unit.read_string(block.text)
            assert {"Unit", "Service"} <= set(unit.sections())
            assert_understood(unit["Service"]["ExecStart"].removeprefix("/opt/fleetcast/bin/"))
        case "recording":
            assert block.page == ROOT / "README.md", "there is one recording"
        case "console":
            for command in commands(block):
                assert not command.shown, "an example has no output"
                assert_understood(command.text)
        case other:
            pytest.fail(f"a block of kind {other!r}, one of {', '.join(sorted(KINDS))}, is neither run nor looked at")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_prose_exist(page: Path) -> None:
    for number, line in prose(page):
        for span in CODE.findall(line):
            if span.startswith("fleetcast ") and not span.startswith("fleetcast COMMAND"):
                assert_known(span, f"{page.name}:{number}")


@pytest.mark.parametrize(
    "page", [*PAGES, *(ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md"))], ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for number, line in prose(page):
        for target in LINK.findall(line):
            if "://" in target:
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{page.name}:{number}: there is no {target}"
            assert not anchor or anchor in anchors(file), f"{page.name}:{number}: {file.name} has no heading #{anchor}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for page in PAGES:
        assert page.name == "README.md" or f"]({page.name})" in index, f"docs/README.md does not list {page.name}"


def anchors(page: Path) -> Iterator[str]:
    """Of its headings, as they are made where the pages are read."""
    for _, line in prose(page):
        if heading := re.match(r"#+ (.*)", line):
            kept = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower())
            yield kept.strip().replace(" ", "-")


def assert_known(command: str, place: str) -> None:
    """The command exists, and so does every flag of it; what else is there may stand for something."""
    app, words = application([]), command.split()[1:]
    path: list[str] = []
    while words and words[0] in app and not words[0].startswith("-"):
        path.append(words.pop(0))
        app = app[path[-1]]
    assert path or not words or words[0].startswith("-"), f"{place}: there is no command {command!r}"
    if words and not words[0].startswith("-"):
        assert not list(verbs(app)), f"{place}: {' '.join(path)} has no {words[0]}"
    known = {"--help", "--version"} | ({name for argument in app.assemble_argument_collection() for name in argument.names})
    for word in words:
        flag = word.partition("=")[0].strip(",.;:")
        assert not flag.startswith("--") or flag in known, f"{place}: {' '.join(path)} has no {flag}"


def verbs(app: App) -> Iterator[str]:
    return (name for name in app if not name.startswith("-"))


def assert_understood(command: str) -> None:
    """The command line takes it as it stands, up to where the shell sends its output elsewhere."""
    lexer = shlex.shlex(SUBSTITUTION.sub("0" * 40, command), posix=True, punctuation_chars="|>&;")
    lexer.whitespace_split = True
    words = list(takewhile(lambda word: not set(word) <= set("|>&;"), lexer))
    assert words[0] == "fleetcast"
    application([]).parse_args(words[1:], exit_on_error=False, print_error=False)
