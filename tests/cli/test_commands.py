"""Every command there is: it prints JSON when asked, has help, and an example that works."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fleetcast.cli import main

_EXAMPLE = re.compile(r"`(fleetcast [^`]*)`")
_SHELL = {"|", ">", "&&", ";"}


def _commands() -> Iterator[tuple[tuple[str, ...], str]]:
    for _, name, target, _ in main._COMMANDS:
        yield (name,), target
    for noun, _, verbs in main._NOUNS:
        for verb, target, _ in verbs:
            yield (noun, verb), target


COMMANDS = [pytest.param(words, target, id=" ".join(words)) for words, target in _commands()]


def _function(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _examples(target: str) -> list[list[str]]:
    """The words of each example behind ``fleetcast``, up to where the shell does something with them."""
    text = " ".join((_function(target).__doc__ or "").split())
    found = [
        shlex.split(example)[1:]
        for example in _EXAMPLE.findall(text.partition("For example:")[2].partition("Parameters ---")[0])
    ]
    return [words[: next((at for at, word in enumerate(words) if word in _SHELL), len(words))] for words in found]


@pytest.mark.parametrize(("words", "target"), COMMANDS)
def test_a_command_has_an_example_that_parses(words: tuple[str, ...], target: str) -> None:
    examples = _examples(target)
    assert any(example[: len(words)] == list(words) for example in examples), "its docstring says: For example: `fleetcast ...`"
    for example in examples:
        app = main.application(example)
        command, _, _ = app.parse_args(example, exit_on_error=False, print_error=False)
        assert command.__name__ not in ("help_print", "version_print")


@pytest.mark.parametrize(("words", "target"), COMMANDS)
def test_a_command_prints_json_when_asked(words: tuple[str, ...], target: str) -> None:
    app = main.application(words)
    for word in words:
        app = app[word]
    assert any("--json" in argument.names for argument in app.assemble_argument_collection())


@pytest.mark.parametrize(("words", "target"), COMMANDS)
def test_help_shows_the_example(words: tuple[str, ...], target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([*words, "--help"]) == main.OK
    said = " ".join(capsys.readouterr().out.split())
    assert f"Usage: fleetcast {' '.join(words)}" in said
    assert "For example: fleetcast" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["deplo"], 'Unknown command "deplo". Did you mean "deploy"? See fleetcast --help'),
        (["artifcat", "list"], 'Did you mean "artifact"?'),
        (["artifact", "shw", "web@main"], 'Did you mean "show"? See fleetcast artifact --help'),
        (["deploy", "web@main", "--jso"], "Did you mean --json? See fleetcast deploy --help"),
        (["deploy"], "deploy what? Write SERVICE@REV, for instance web@main"),
        (["deploy", "web", "main"], "deploy what? Write SERVICE@REV, for instance web@main"),
        (["build", "web", "main"], "build what? Write SERVICE@REV, for instance web@main"),
        (["deploy", "web@main", "--jso"], "Did you mean --json?"),
        (["rollback"], "requires an argument"),
        (["build", "web"], "build which commit of web?"),
        (["build", "Web!@main"], "not a legal name"),
        (["demo", "--machines", "few"], 'unable to convert "few" into int'),
        (["completion", "bsh"], 'Did you mean "bash"?'),
        (["artifact", "export", "web@main"], "export where to?"),
        (["artifact", "export", "web@main", "out", "--tar", "out.tar"], "export where to?"),
    ],
)
def test_a_slip_is_one_line_that_names_what_was_meant(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == main.USAGE
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("fleetcast: ")
    assert told.err.count("\n") == 1
    assert says in told.err
    assert re.search(r" \[[a-z_]+\]\n$", told.err)
