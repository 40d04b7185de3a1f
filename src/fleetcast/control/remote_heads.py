"""Asking git where the branches of a repository are, elsewhere."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from typing import Final

from fleetcast.control import commands
from fleetcast.model.errors import Unavailable
from fleetcast.model.limits import POLL_LOOK_S_MAX, POLL_OUTPUT_BYTES_MAX
from fleetcast.model.lines import one_line

_LAST_WORDS_CHARS: Final = 300
_NOBODY_TO_ASK: Final = {"GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS": "", "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}
_CREDENTIALS: Final = re.compile(r"://[^/@\s]+@")
_HEADS: Final = "refs/heads/"


def git_error() -> str:
    """Why this process cannot look at branches; empty: it can."""
    return "" if shutil.which("git") else "there is no git where control runs: install it there, or use webhooks"


async def remote_heads(
    repository: str, branches: Iterable[str], *, environ: Mapping[str, str] | None = None, timeout_s: float = POLL_LOOK_S_MAX
) -> Mapping[str, str]:
    """The commits that ``branches`` are at; those that are not there are left out. Credentials are git's own, nobody is asked.

    Raises:
        Unavailable: there is no git, it failed, or it took longer than ``timeout_s``; the message says which, without
            credentials.
    """
    if missing := git_error():
        raise Unavailable("no_git", missing)
    wanted = [_HEADS + branch for branch in branches]
    command = ("git", "-c", "core.askPass=", "ls-remote", "--refs", "--", repository, *wanted)
    environment = commands.without_ours(os.environ if environ is None else environ) | _NOBODY_TO_ASK
    try:
        ran = await commands.run(command, environment, timeout_s=timeout_s, output_bytes_max=POLL_OUTPUT_BYTES_MAX)
    except TimeoutError:
        raise Unavailable("git_too_slow", f"git did not answer within {timeout_s:g} s: see that the server answers") from None
    if ran.code != 0:
        words = one_line(_CREDENTIALS.sub("://", ran.complaint.decode("utf-8", "replace")))[-_LAST_WORDS_CHARS:]
        raise Unavailable("git_failed", words or f"git ls-remote exited {ran.code}")
    return _parsed(ran.output.decode("utf-8", "replace"), wanted)


def _parsed(said: str, wanted: Iterable[str]) -> Mapping[str, str]:
    # A pattern matches the end of a name too: refs/remotes/refs/heads/main.
    found = {ref: sha for sha, tab, ref in (line.partition("\t") for line in said.splitlines()) if tab}
    return {ref.removeprefix(_HEADS): found[ref] for ref in wanted if ref in found}
