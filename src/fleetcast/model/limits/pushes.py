"""Hearing of pushes, and telling what became of them."""

from __future__ import annotations

from typing import Final

from fleetcast.model.limits.units import KIB, MIB

# Pushes
HOOK_BODY_BYTES_MAX: Final = 25 * MIB
"""Of a webhook: what GitHub sends at most."""
HOOK_BODY_S_MAX: Final = 20
"""How long a webhook may take to arrive."""
HOOKS_AT_ONCE_MAX: Final = 4
"""Webhooks that one process receives at a time: each is in memory as a whole. Others are asked to come again."""
HOOK_DELIVERY_CHARS_MAX: Final = 200
"""Of the id of a delivery."""
HOOK_AGE_S_MAX: Final = 3 * 24 * 3600
"""A push that its server dates further back is refused: for so long GitHub delivers one again."""
HOOK_DELIVERIES_KEPT_S: Final = 7 * 24 * 3600
"""How long a delivery that comes again is answered as the first time."""
HOOK_DELIVERIES_KEPT_MAX: Final = 100_000
HOOK_SIGNED_S_MAX: Final = 300
"""How far the time in a signature may be off control's clock (Standard Webhooks)."""
PASSED_HEADS_MAX: Final = 32
"""Where a branch was before, that a late push is known by."""
POLL_EVERY_S_MIN: Final = 10
POLL_EVERY_S_MAX: Final = 24 * 3600
"""Bounds of how often a branch is looked at."""
POLLS_AT_ONCE_MAX: Final = 8
"""Repositories that one control process asks at a time."""
POLL_LOOK_S_MAX: Final = 30
"""How long git may take to say where the branches of one repository are."""
POLL_LEASE_S: Final = 120
"""How long a control process's claim on a look lives: another looks after that."""
POLL_BACKOFF_S_MAX: Final = 900
"""Between looks at a branch that fail, unless it is looked at less often anyway; doubles, with jitter."""
POLL_TURN_INTERVAL_S: Final = 1
"""How often control sees which looks are due."""
POLL_DUE_MAX: Final = 500
"""Looks that are considered in one turn."""
POLL_OUTPUT_BYTES_MAX: Final = 64 * KIB
"""Of what git says that is kept."""
POLL_ALARMS_MAX: Final = 20
"""Services that cannot be followed, named in the status."""

STATUS_EVENTS_MAX: Final = 200
"""Events that one transaction brings into the outbox of commit statuses."""
STATUS_INTERVAL_S: Final = 1
"""How often control sees what is to be told about commits."""
STATUSES_AT_ONCE_MAX: Final = 4
"""Requests under way to one server."""
STATUS_SEND_S_MAX: Final = 10
"""Of one request."""
STATUS_LEASE_S: Final = 60
"""How long a control process's claim on a commit status lives."""
STATUS_BACKOFF_S_MIN: Final = 2
STATUS_BACKOFF_S_MAX: Final = 600
"""Between attempts at telling one commit status; doubles, with jitter."""
STATUS_TOLD_S_MAX: Final = 24 * 3600
"""What could not be told for so long is told no more."""
STATUSES_KEPT_S: Final = 30 * 24 * 3600
STATUS_DESCRIPTION_CHARS_MAX: Final = 140
"""What GitHub takes."""
