"""Asking an outside check once."""

from __future__ import annotations

import os
from contextlib import aclosing
from urllib.parse import urlsplit

from fleetcast.control import commands
from fleetcast.control.checks.reading import filled, of_exit, of_query, of_url, unknown
from fleetcast.http.session import Answer, Params, Session
from fleetcast.model.check import CheckAnswer
from fleetcast.model.errors import FleetcastError
from fleetcast.model.limits import CHECK_ANSWER_BYTES_MAX, CHECK_OUTPUT_BYTES_MAX, CHECK_S_MAX
from fleetcast.rollouts.check_asks import Ask


async def asked(ask: Ask, *, allow_commands: bool, timeout_s: float = CHECK_S_MAX) -> CheckAnswer:
    """What came of it; that it cannot be asked is an answer too."""
    about = {
        "service": ask.service,
        "environment": ask.environment,
        "commit": ask.commit_sha,
        "deployment": ask.deployment,
    }
    check = ask.check
    if check.command:
        if not allow_commands:
            return unknown("control runs no commands: its setting check_commands is off")
        return await _command([filled(word, about) for word in check.command], about, timeout_s)
    try:
        if check.url:
            answer = await _get(filled(check.url, about), "", None, timeout_s)
            return of_url(check, answer.status, answer.body)
        answer = await _get(check.prometheus, "/api/v1/query", {"query": filled(check.query, about)}, timeout_s)
        return of_query(check, answer.status, answer.body)
    except FleetcastError as error:
        return unknown(error.message)


async def _get(url: str, more: str, params: Params | None, timeout_s: float) -> Answer:
    parts = urlsplit(url)
    path = (parts.path.rstrip("/") + more if more else parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    async with aclosing(Session(f"{parts.scheme}://{parts.netloc}")) as session:
        return await session.get(path, params=params, timeout_s=timeout_s, answer_bytes_max=CHECK_ANSWER_BYTES_MAX)


async def _command(command: list[str], about: dict[str, str], timeout_s: float) -> CheckAnswer:
    environment = commands.without_ours(os.environ) | {f"FLEETCAST_{name.upper()}": value for name, value in about.items()}
    try:
        ran = await commands.run(command, environment, timeout_s=timeout_s, output_bytes_max=CHECK_OUTPUT_BYTES_MAX)
    except TimeoutError:
        return unknown(f"it did not end within {timeout_s:g} s, and was killed")
    except OSError as error:
        return unknown(f"it cannot be started: {error.strerror or error}")
    said = (ran.output + ran.complaint).decode("utf-8", "replace").replace("\x00", "")
    return of_exit(ran.code, said)
