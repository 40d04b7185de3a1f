"""Webhooks: who is told by HTTP of what happens, and in which form."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, NewType

from fleetcast.model.errors import Invalid
from fleetcast.model.event import EventKind
from fleetcast.model.ids import NAME
from fleetcast.model.limits import WEBHOOK_URL_CHARS_MAX
from fleetcast.model.spelling import Spelling, stated

WebhookName = NewType("WebhookName", Annotated[str, NAME.meta])

EVERYTHING: Final = "*"
SIGNING: Final = "whsec_"
"""What a secret begins with (Standard Webhooks); base64 follows."""
_QUAD: Final = "[A-Za-z0-9+/]"
SECRET: Final = Spelling(rf"{SIGNING}({_QUAD}{{4}}){{7,21}}({_QUAD}{{4}}|{_QUAD}{{3}}=|{_QUAD}{{2}}==)")
"""Of 22 to 66 bytes."""
URL: Final = Spelling(r"https?://[A-Za-z0-9.:\[\]_-]+([/?][!-\"$-~]*)?", maxLength=WEBHOOK_URL_CHARS_MAX)
"""Without user and password: a log of the receiver's would have them. No fragment."""


class WebhookForm(StrEnum):
    """How a delivery is written."""

    JSON = "json"
    """The event with what belongs to it."""
    SLACK = "slack"
    """``{"text": ...}``, one line for people: what Slack takes, and others that took it over."""


EVENT_PATTERNS: Final[Sequence[str]] = (
    EVERYTHING,
    *sorted({f"{kind.partition('.')[0]}.*" for kind in EventKind}),
    *EventKind,
)
"""What a webhook may ask for."""
EventPattern = Annotated[str, stated(enum=list(EVENT_PATTERNS))]


def webhook_name(text: str) -> WebhookName:
    """Raises :class:`Invalid` unless ``text`` is a DNS label."""
    if not NAME.fits(text):
        raise Invalid(
            "illegal_name",
            f"webhook {text!r} is not a legal name: use 1 to 63 of a-z, 0-9 and '-', neither first nor last a '-'",
        )
    return WebhookName(text)


def asks_for(patterns: Sequence[str], kind: str) -> bool:
    """Whether events of ``kind`` are among those that ``patterns`` name."""
    return any(pattern in (EVERYTHING, kind, f"{kind.partition('.')[0]}.*") for pattern in patterns)
