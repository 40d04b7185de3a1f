"""Telling others what happened."""

from __future__ import annotations

from typing import Final

from fleetcast.model.limits.units import KIB

# Webhooks
WEBHOOKS_MAX: Final = 50
"""That an installation has; each is told apart from the others, one delivery at a time."""
WEBHOOK_URL_CHARS_MAX: Final = 2000
WEBHOOK_EVENTS_MAX: Final = 50
"""Kinds of events that one webhook names."""
WEBHOOK_SERVICES_MAX: Final = 500
"""Services that one webhook names."""
WEBHOOK_INTERVAL_S: Final = 1
"""How often control sees what is to be told to webhooks."""
WEBHOOK_GATHERED_MAX: Final = 200
"""Events that one transaction brings into the outbox of webhooks."""
WEBHOOK_SEND_S_MAX: Final = 10
"""Of one delivery, until the receiver has answered."""
WEBHOOK_ANSWER_BYTES_MAX: Final = 4 * KIB
"""Of a receiver's answer: what is read of it."""
WEBHOOK_ERROR_CHARS_MAX: Final = 200
"""Of a receiver's answer: what is kept of one that refuses."""
WEBHOOK_LEASE_S: Final = 60
"""How long a control process's claim on a delivery lives."""
WEBHOOK_BACKOFF_S_MIN: Final = 2
WEBHOOK_BACKOFF_S_MAX: Final = 600
"""Between attempts at one delivery, and between requests to a receiver that fails; doubles, with jitter."""
WEBHOOK_TOLD_S_MAX: Final = 24 * 3600
"""A delivery that could not be made for so long is given up."""
WEBHOOK_WAITING_MAX: Final = 10_000
"""Deliveries that wait for one webhook; the oldest above that are given up."""
WEBHOOK_DELIVERIES_KEPT_S: Final = 3 * 24 * 3600
"""How long it is known what became of a delivery."""
