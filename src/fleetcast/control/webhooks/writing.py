"""How a delivery is written and signed, what its receiver's answer means, and what of a URL is no secret.

Signatures are those of Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md):
HMAC-SHA256 over ``{id}.{timestamp}.{body}``.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from fleetcast.http import messages
from fleetcast.model.event import Event
from fleetcast.model.limits import EVENT_TEXT_CHARS_MAX, WEBHOOK_ERROR_CHARS_MAX
from fleetcast.model.lines import one_line
from fleetcast.model.webhook import SIGNING, WebhookForm

ID: Final = "webhook-id"
SENT_AT: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
TEST: Final = "webhook.test"
"""Kind of the event that never happened."""
_MAY_BE_SET_RIGHT: Final = frozenset({401, 403, 404, 408, 409, 425, 429})
_SHORT: Final = 12


@dataclass(frozen=True, slots=True)
class About:
    """What belongs to an event: of which commit a build is, where a deployment goes. Empty: nothing does."""

    commit: str = ""
    environment: str = ""


def body(form: WebhookForm, event: Event, about: About) -> str:
    """What is posted, to the byte: a repeated delivery has the same."""
    if form is WebhookForm.SLACK:
        return messages.encode({"text": _escaped(headline(event, about))}).decode()
    at = datetime.fromtimestamp(event.at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return messages.encode({"type": event.kind, "timestamp": at, "data": {**asdict(event), **asdict(about)}}).decode()


def headline(event: Event, about: About) -> str:
    """An event in one line, for people: ``web: deployment 5d1c of 7e58d02b1f3a to production ended SUCCEEDED``."""
    noun, _, verb = event.kind.partition(".")
    subject = f"{noun} {event.subject}" if event.subject != event.service else noun
    whose = f"{event.service}: " if event.service else ""
    commit = f" of {about.commit[:_SHORT]}" if about.commit else ""
    environment = f" to {about.environment}" if about.environment else ""
    state = f" {event.state}" if event.state else ""
    reason = f": {event.text}" if event.text else ""
    return one_line(f"{whose}{subject}{commit}{environment} {verb.replace('_', ' ')}{state}{reason}")[
        : 2 * EVENT_TEXT_CHARS_MAX
    ]


def headers(secret: str, message: str, sent_at_s: int, content: bytes) -> Mapping[str, str]:
    """What goes with it; signed where there is a secret."""
    plain = {"content-type": messages.JSON, ID: message, SENT_AT: str(sent_at_s)}
    if not secret:
        return plain
    key = base64.b64decode(secret.removeprefix(SIGNING))
    digest = hmac.digest(key, f"{message}.{sent_at_s}.".encode() + content, "sha256")
    return {**plain, SIGNATURE: f"v1,{base64.b64encode(digest).decode()}"}


def refusal(status: int, answer: bytes) -> str:
    """Why a receiver has not taken a delivery, in a line; empty: it has."""
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"it answered HTTP {status}: add the webhook with the URL that it redirects to"
    said = one_line(answer.decode("utf-8", "replace"))[:WEBHOOK_ERROR_CHARS_MAX]
    return f"it answered HTTP {status}" + (f" and {said}" if said and not said.startswith("<") else "")


def is_final(status: int) -> bool:
    """Whether the same delivery will never be taken. What is wrong with the URL or the key can be set right meanwhile."""
    return 400 <= status < 500 and status not in _MAY_BE_SET_RIGHT


def shown(url: str, form: WebhookForm) -> str:
    """Of a URL what is no secret."""
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc}"
    if form is WebhookForm.SLACK:
        return f"{place}/..."
    return f"{place}{parts.path}" + ("?..." if parts.query else "")


def _escaped(text: str) -> str:
    """So that nothing in it is a link or calls a channel: https://docs.slack.dev/messaging/formatting-message-text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
