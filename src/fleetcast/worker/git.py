"""Calling git: always the same way, whatever the user's and the machine's settings say about colours, hooks or prompts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from fleetcast.model.lines import one_line
from fleetcast.worker.command import run_group

OUTPUT_BYTES_KEPT: Final = 64 * 1024
LAST_WORDS_CHARS_MAX: Final = 500
KILL_GRACE_S: Final = 2.0

_SETTINGS: Final = (
    ("core.hooksPath", os.devnull),
    ("core.autocrlf", "false"),
    ("advice.detachedHead", "false"),
    ("gc.autoDetach", "false"),
    ("core.askPass", ""),
)
_NOBODY_TO_ASK: Final = {"GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS": "", "SSH_ASKPASS_REQUIRE": "never"}
"""A question would wait for an answer until the build's time is over; a window of it would even open on somebody's screen."""


class GitFailedError(Exception):
    """Git ended with an error; the text is its last words, in one line."""


def clean_environment() -> dict[str, str]:
    """This process's environment without what is about us or about a repository we happen to be called from."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("FLEETCAST_", "GIT_"))}


async def git(*arguments: str, directory: Path) -> str:
    """Run git in ``directory``; returns what it wrote, the last ``OUTPUT_BYTES_KEPT`` of it, both streams together.

    Cancelling ends it. Raises :class:`GitFailedError`.
    """
    code, text = await git_code(*arguments, directory=directory)
    if code != 0:
        raise GitFailedError(one_line(text)[-LAST_WORDS_CHARS_MAX:] or f"git {arguments[0]} exited {code}")
    return text


async def git_code(*arguments: str, directory: Path) -> tuple[int, str]:
    """As :func:`git`, for calls whose exit code is an answer."""
    written = bytearray()

    def keep(data: bytes) -> None:
        written.extend(data)
        del written[:-OUTPUT_BYTES_KEPT]

    settings = [part for name, value in _SETTINGS for part in ("-c", f"{name}={value}")]
    environment = {**clean_environment(), **_NOBODY_TO_ASK, "LC_ALL": "C"}
    code = await run_group(
        ["git", *settings, *arguments],
        directory=directory,
        environment=environment,
        output=keep,
        kill_grace_s=KILL_GRACE_S,
    )
    return code, written.decode("utf-8", "replace")
