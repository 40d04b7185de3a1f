"""People to control: who is told by HTTP of what happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fleetcast.model.ids import ServiceName
from fleetcast.model.limits import WEBHOOK_EVENTS_MAX, WEBHOOK_SERVICES_MAX
from fleetcast.model.protocol import PROTOCOL, Protocol
from fleetcast.model.spelling import Natural, stated
from fleetcast.model.webhook import SECRET, URL, EventPattern, WebhookForm, WebhookName


@dataclass(frozen=True, slots=True)
class WebhookSpec:
    """``PUT /v1/webhooks/{name}``: creates or changes a webhook. It is told what happens from then on."""

    name: WebhookName
    url: Annotated[str, URL.meta] = field(repr=False)
    """Where deliveries are posted to. Not shown again as a whole: of many receivers it is a secret."""
    events: Annotated[tuple[EventPattern, ...], stated(minItems=1, maxItems=WEBHOOK_EVENTS_MAX)] = ("deployment.*",)
    """Kinds of events, ``deployment.*`` for all that begin so, ``*`` for all."""
    services: Annotated[tuple[ServiceName, ...], stated(maxItems=WEBHOOK_SERVICES_MAX)] = ()
    """Only events about these; none: all."""
    form: WebhookForm = WebhookForm.JSON
    secret: Annotated[str, SECRET.meta] | None = field(default=None, repr=False)
    """``whsec_`` and base64: signs what is sent (Standard Webhooks). Never shown. Only the form ``slack`` does without."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class WebhookOutcome:
    """What became of the last request to a receiver."""

    at_ms: Natural
    kind: str
    """Of the event."""
    delivered: bool
    status: int | None
    """Of its answer; ``None``: it gave none."""
    error: str
    """Empty when it was delivered."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook as people are shown it, without its secrets."""

    name: WebhookName
    url: str
    """Without what may be a secret in it: its query, and in the form ``slack`` its path."""
    events: tuple[str, ...]
    services: tuple[ServiceName, ...]
    form: WebhookForm
    signed: bool
    created_at_ms: Natural
    waiting: Natural
    """Deliveries that have not arrived yet."""
    given_up: Natural
    """Deliveries of the last days that never arrived."""
    failures: Natural
    """Requests in a row that failed."""
    last: WebhookOutcome | None
    """``None``: nothing was sent yet."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class WebhookPage:
    """``GET /v1/webhooks?after=&limit=``: by name."""

    items: tuple[Webhook, ...]
    next: str | None
    """``after`` of the next page; ``None``: this is the last."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class WebhookRemoved:
    """``DELETE /v1/webhooks/{name}``."""

    name: WebhookName
    dropped: Natural
    """Deliveries that waited, and are not made any more."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class WebhookTested:
    """``POST /v1/webhooks/{name}/test``: what came of a delivery that says only that it is one."""

    outcome: WebhookOutcome
    took_ms: Natural
    protocol: Protocol = PROTOCOL
