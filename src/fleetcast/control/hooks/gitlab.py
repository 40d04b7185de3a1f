"""Webhooks of GitLab: whether one is genuine, and what it says.

https://docs.gitlab.com/user/project/integrations/webhooks/: either the secret itself is in ``X-Gitlab-Token``, or, with a
*signing token*, ``webhook-signature`` signs the id, the time and the body as Standard Webhooks have it
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md). A secret that begins with
``whsec_`` is a signing token: it signs, and is never taken as what it is.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fleetcast.control.hooks.reading import push_of
from fleetcast.http import messages
from fleetcast.model.push import Push

NAME: Final = "gitlab"
TOKEN: Final = "x-gitlab-token"
EVENT: Final = "x-gitlab-event"
SIGNATURE: Final = "webhook-signature"
SIGNED_ID: Final = "webhook-id"
SIGNED_AT: Final = "webhook-timestamp"
SHARED: Final = "x-gitlab-event-uuid"
"""The same for hooks that set off one another."""
DELIVERIES: Final = (SIGNED_ID, "idempotency-key", SHARED)
"""Where the id of a delivery stands, the best first."""
SIGNING: Final = "whsec_"
_PUSHES: Final = frozenset({"Push Hook", "System Hook"})


@dataclass(frozen=True, slots=True)
class GitlabProject:
    git_http_url: str = ""
    git_ssh_url: str = ""


@dataclass(frozen=True, slots=True)
class GitlabPush:
    """Of a push event what is looked at. A system hook tells of other things too, in other shapes."""

    object_kind: str = ""
    event_name: str = ""
    ref: str = ""
    before: str = ""
    after: str = ""
    project: GitlabProject = field(default_factory=GitlabProject)


def genuine(secrets: Sequence[str], headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a delivery carries one of ``secrets`` or is signed with one. Takes the same time for every wrong one."""
    signing = [secret for secret in secrets if secret.startswith(SIGNING)]
    if signing and (signature := headers.get(SIGNATURE)):
        signed = f"{headers.get(SIGNED_ID, '')}.{headers.get(SIGNED_AT, '')}.".encode("utf-8", "surrogateescape") + body
        return _signed(signing, signed, signature)
    token = headers.get(TOKEN, "").encode("utf-8", "surrogateescape")
    found = False
    for secret in secrets:
        found |= hmac.compare_digest(secret.encode(), token) and secret not in signing
    return found


def signed_at_s(secrets: Sequence[str], headers: Mapping[str, str]) -> int | None:
    """The time in a signature that was looked at, UTC seconds; ``None``: no time is signed. -1 where it is no number."""
    if SIGNATURE not in headers or not any(secret.startswith(SIGNING) for secret in secrets):
        return None
    stated = headers.get(SIGNED_AT, "")
    return int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 12 else -1


def read(event: str, body: bytes) -> Push | str:
    """The push that a delivery tells of, or why there is nothing to do. Raises :class:`Invalid` for what makes no sense."""
    useless = f"events of kind {event!r} are of no use here, those of kind 'Push Hook' are: nothing is to be done"
    if event not in _PUSHES:
        return useless
    said = messages.decode(body, GitlabPush, messages.CALLER, messages.SERVER)
    if "push" not in (said.object_kind, said.event_name):
        return useless
    return push_of((said.project.git_http_url, said.project.git_ssh_url), said.ref, said.before, said.after)


def _signed(secrets: Sequence[str], signed: bytes, signature: str) -> bool:
    # Several, separated by blanks, while a signing token is being replaced: "v1,BASE64 v1,BASE64".
    given = [each.removeprefix("v1,").encode() for each in signature.split() if each.startswith("v1,")]
    found = False
    for secret in secrets:
        try:
            key = base64.b64decode(secret.removeprefix(SIGNING), validate=True)
        except binascii.Error:
            key = secret.removeprefix(SIGNING).encode()
        expected = base64.b64encode(hmac.digest(key, signed, "sha256"))
        for each in given:
            found |= hmac.compare_digest(expected, each)
    return found
