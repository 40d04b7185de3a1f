"""Webhooks of GitHub: whether one is genuine, and what it says.

https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries: ``X-Hub-Signature-256`` is the HMAC-SHA256
of the raw body. The headers are not signed, so neither is the id of a delivery; the body of a push states its time
(``pushed_at``).
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from fleetcast.control.hooks.reading import push_of
from fleetcast.http import messages
from fleetcast.model.errors import Invalid
from fleetcast.model.push import Push

NAME: Final = "github"
SIGNATURE: Final = "x-hub-signature-256"
EVENT: Final = "x-github-event"
DELIVERY: Final = "x-github-delivery"
FORM: Final = "application/x-www-form-urlencoded"
_SCHEME: Final = "sha256="


@dataclass(frozen=True, slots=True)
class GithubRepository:
    clone_url: str = ""
    ssh_url: str = ""
    git_url: str = ""
    pushed_at: int | str | None = None
    """UTC seconds in a push; other events have a text here."""


@dataclass(frozen=True, slots=True)
class GithubPush:
    """Of a push event what is looked at."""

    ref: str
    before: str
    after: str
    repository: GithubRepository


def genuine(secrets: Sequence[str], signature: str, body: bytes) -> bool:
    """Whether ``body`` is signed with one of ``secrets``. Takes the same time for every signature."""
    found = False
    for secret in secrets:
        expected = _SCHEME + hmac.digest(secret.encode(), body, "sha256").hex()
        # Bytes: of texts, only those in ASCII can be compared in constant time.
        found |= hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape"))
    return found


def read(event: str, body: bytes, content_type: str) -> Push | str:
    """The push that a delivery tells of, or why there is nothing to do. Raises :class:`Invalid` for what makes no sense."""
    if event == "ping":
        return "pong: pushes will be heard"
    if event != "push":
        return f"events of kind {event!r} are of no use here, those of kind 'push' are: nothing is to be done"
    if content_type.partition(";")[0].strip().lower() == FORM:
        body = _payload(body)
    said = messages.decode(body, GithubPush, messages.CALLER, messages.SERVER)
    where, pushed_at = said.repository, said.repository.pushed_at
    at_ms = pushed_at * 1000 if isinstance(pushed_at, int) else None
    return push_of((where.clone_url, where.ssh_url, where.git_url), said.ref, said.before, said.after, at_ms)


def _payload(body: bytes) -> bytes:
    """The other of the two content types that a webhook can be set up with."""
    try:
        (payload,) = parse_qs(body.decode(), strict_parsing=True, max_num_fields=1)["payload"]
    except (ValueError, KeyError):
        raise Invalid(
            "invalid_message", "this form has no field 'payload' alone: choose application/json as content type"
        ) from None
    return payload.encode()
