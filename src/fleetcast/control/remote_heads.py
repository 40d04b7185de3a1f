"""Asking git where the branches of a repository are, elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Iterable, Mapping
from typing import Final

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
    inherited = os.environ if environ is None else environ
    # Neither what is about us, nor what is about a repository that we happen to be started from.
    environment = {name: value for name, value in inherited.items() if not name.startswith(("FLEETCAST_", "GIT_"))}
    wanted = [_HEADS + branch for branch in branches]
    process = await asyncio.create_subprocess_exec(
        *("git", "-c", "core.askPass=", "ls-remote", "--refs", "--", repository, *wanted),
        cwd="/",
        env={**environment, **_NOBODY_TO_ASK},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # no terminal to ask at, and helpers of git's end with it
    )
    try:
        async with asyncio.timeout(timeout_s):
            said, complaint = await asyncio.gather(_first(process.stdout), _first(process.stderr))
            code = await process.wait()
    except TimeoutError:
        raise Unavailable("git_too_slow", f"git did not answer within {timeout_s:g} s: see that the server answers") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if code != 0:
        words = one_line(_CREDENTIALS.sub("://", complaint.decode("utf-8", "replace")))[-_LAST_WORDS_CHARS:]
        raise Unavailable("git_failed", words or f"git ls-remote exited {code}")
    return _parsed(said.decode("utf-8", "replace"), wanted)


def _parsed(said: str, wanted: Iterable[str]) -> Mapping[str, str]:
    # A pattern matches the end of a name too: refs/remotes/refs/heads/main.
    found = {ref: sha for sha, tab, ref in (line.partition("\t") for line in said.splitlines()) if tab}
    return {ref.removeprefix(_HEADS): found[ref] for ref in wanted if ref in found}


async def _first(stream: asyncio.StreamReader | None) -> bytes:
    """All of a stream, of which the beginning is kept."""
    assert stream is not None
    kept = bytearray()
    while data := await stream.read(64 * 1024):
        kept += data[: POLL_OUTPUT_BYTES_MAX - len(kept)]
    return bytes(kept)
