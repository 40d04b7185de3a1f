"""The routes for webhooks. Who calls them has no token of ours: what carries a secret, or is signed with one, is let in.

They are no part of the API for people: the servers say what they send, so they are not in its document.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from litestar import Request, post

from fleetcast.control.hooks import github, gitlab
from fleetcast.control.hooks.deliveries import Delivery, earlier_answer, remember
from fleetcast.control.parts import Parts, PartsHere
from fleetcast.http import tokens
from fleetcast.model.errors import FleetcastError, Invalid, NotFound, Refused, Unauthorized, Unavailable
from fleetcast.model.limits import (
    HOOK_AGE_S_MAX,
    HOOK_BODY_BYTES_MAX,
    HOOK_BODY_S_MAX,
    HOOK_DELIVERY_CHARS_MAX,
    HOOK_SIGNED_S_MAX,
)
from fleetcast.model.messages.hooks import HookAnswer
from fleetcast.model.push import Push
from fleetcast.stores.database import read_clock_ms

log = structlog.get_logger(__name__)

AnyRequest = Request[Any, Any, Any]


@post("/v1/hooks/github", status_code=200, include_in_schema=False, request_max_body_size=HOOK_BODY_BYTES_MAX)
async def github_hook(request: AnyRequest, parts: PartsHere) -> HookAnswer:
    """A webhook of GitHub."""
    secrets = _secrets(parts.config.github_hook_secrets, "github_hook_secrets")
    signature = _wanted(
        request, github.SIGNATURE, "this delivery is not signed: give the webhook the secret of the installation"
    )
    body = await _body(request, parts)
    if not await asyncio.to_thread(github.genuine, secrets, signature, body):
        raise _not_genuine(github.NAME)
    event = request.headers.get(github.EVENT, "")
    said = await asyncio.to_thread(github.read, event, body, request.headers.get("content-type", ""))
    if isinstance(said, str):
        return HookAnswer(said)
    dated = said.pushed_at_ms is not None
    if said.pushed_at_ms is not None:
        await _refuse_old(parts, said.pushed_at_ms, HOOK_AGE_S_MAX)
    return await _carry_out(parts, said, _delivery(github.NAME, (github.DELIVERY,), request.headers, body, dated))


@post("/v1/hooks/gitlab", status_code=200, include_in_schema=False, request_max_body_size=HOOK_BODY_BYTES_MAX)
async def gitlab_hook(request: AnyRequest, parts: PartsHere) -> HookAnswer:
    """A webhook of GitLab."""
    secrets = _secrets(parts.config.gitlab_hook_secrets, "gitlab_hook_secrets")
    if gitlab.SIGNATURE not in request.headers:
        _wanted(request, gitlab.TOKEN, "this delivery has no secret: give the webhook the one of the installation")
    body = await _body(request, parts)
    if not await asyncio.to_thread(gitlab.genuine, secrets, request.headers, body):
        raise _not_genuine(gitlab.NAME)
    if (signed_at_s := gitlab.signed_at_s(secrets, request.headers)) is not None:
        await _refuse_old(parts, signed_at_s * 1000, HOOK_SIGNED_S_MAX)
    said = await asyncio.to_thread(gitlab.read, request.headers.get(gitlab.EVENT, ""), body)
    if isinstance(said, str):
        return HookAnswer(said)
    return await _carry_out(parts, said, _delivery(gitlab.NAME, gitlab.DELIVERIES, request.headers, body, False))


def _secrets(file: Path, setting: str) -> Sequence[str]:
    """Read at each delivery: a secret is replaced by writing the file. Raises :class:`NotFound`, :class:`Unavailable`."""
    if file == Path():
        raise NotFound(
            "no_hook", f"webhooks of this kind are not expected here: set {setting} of [control], and start control again"
        )
    try:
        return tokens.load(file).split()
    except FleetcastError as error:
        # Where the file is, and what is wrong with it, is no business of who called.
        log.error("hook_secrets_unusable", setting=setting, error=error.message)
        raise Unavailable("hook_secrets_unusable", f"{setting} of [control] cannot be used: control's log says why") from None


def _wanted(request: AnyRequest, header: str, otherwise: str) -> str:
    """A header without which the body is not even read."""
    value = request.headers.get(header, "")
    if not value:
        raise Unauthorized("no_signature", otherwise)
    return str(value)


async def _body(request: AnyRequest, parts: Parts) -> bytes:
    """The raw body. Raises :class:`Unavailable` where too many are on their way or the caller leaves, :class:`Invalid` for one
    that does not end."""
    if parts.hooks_receiving.locked():
        raise Unavailable("too_many_hooks", "other webhooks are being received: deliver this one again")
    try:
        async with parts.hooks_receiving, asyncio.timeout(HOOK_BODY_S_MAX):
            return await request.body()
    except TimeoutError:
        raise Invalid("hook_too_slow", f"the body did not arrive within {HOOK_BODY_S_MAX} s: deliver it again") from None


def _not_genuine(forge: str) -> Unauthorized:
    log.warning("hook_not_genuine", forge=forge)
    return Unauthorized("wrong_signature", "this is signed with none of the secrets known here: give the webhook one of them")


async def _refuse_old(parts: Parts, stated_ms: int, s_max: int) -> None:
    """Raises :class:`Refused` for what is dated further from the database's clock than a replay is remembered."""
    async with parts.database.reading() as reading:
        off_s = (await read_clock_ms(reading) - stated_ms) / 1000
    if abs(off_s) > s_max:
        stated = f"this delivery is dated {abs(off_s):.0f} s {'ago' if off_s > 0 else 'ahead'}"
        raise Refused("delivery_too_old", f"{stated}, {s_max} s are allowed: trigger its commit by hand")


def _delivery(forge: str, names: Sequence[str], headers: Mapping[str, str], body: bytes, body_is_unique: bool) -> Delivery:
    """Raises :class:`Invalid` where it has no id."""
    name = next((name for name in names if headers.get(name)), "")
    found, digest = headers.get(name, ""), hashlib.sha256(body).hexdigest()
    if not 0 < len(found) <= HOOK_DELIVERY_CHARS_MAX or not found.isprintable():
        wanted = " or ".join(names)
        raise Invalid(
            "no_delivery_id", f"this delivery has no id of 1 to {HOOK_DELIVERY_CHARS_MAX} characters in {wanted}: send one"
        )
    # Hooks that set off one another share such an id, and tell of different things.
    return Delivery(forge, f"{found} {digest[:32]}" if name == gitlab.SHARED else found, digest, body_is_unique)


async def _carry_out(parts: Parts, push: Push, delivery: Delivery) -> HookAnswer:
    async with parts.database.reading() as reading:
        if (before := await earlier_answer(reading, delivery)) is not None:
            return before
    outcomes = await parts.pushes.take(push)
    if not outcomes:
        return HookAnswer(f"no service has the repository {push.repositories[0]}: nothing is to be done")
    triggered = sum(bool(each.triggered) for each in outcomes)
    answer = HookAnswer(f"{push.branch} is at {push.head}: {triggered} triggered", outcomes)
    if triggered:
        parts.stir()
    # What was refused is tried again when it is delivered again; what was not, is known then and done no second time.
    if not any(each.refused for each in outcomes):
        async with parts.database.transaction() as tx:
            await remember(tx, delivery, answer)
    return answer


HOOKS: Final[tuple[Any, ...]] = (github_hook, gitlab_hook)
