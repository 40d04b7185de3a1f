"""Questions, answers and what of them is kept."""

from __future__ import annotations

from typing import Final

from fleetcast.model.limits.fleet import REGION_MACHINES_MAX
from fleetcast.model.limits.units import KIB, MIB

# HTTP
HTTP_TIMEOUT_S: Final = 30
HTTP_CONNECTIONS_MAX: Final = 64
"""Of one client to one server."""
HTTP_CONNECT_S_MAX: Final = 5
HTTP_KEEP_ALIVE_S: Final = 30
"""How long a client keeps an idle connection. A server keeps it twice as long, so that the client closes first."""
HTTP_STOP_S_MAX: Final = 3
"""How long a stopping server lets requests finish."""
HTTP_RETRY_AFTER_S: Final = 1
"""What a caller is told who was answered 503."""
MESSAGE_BYTES_MAX: Final = 4 * MIB
"""Of one request."""
REPORTED_MACHINE_BYTES: Final = 1 * KIB
"""Room for one machine, with its labels, in its region's report."""
REGION_REPORT_BYTES_MAX: Final = REGION_MACHINES_MAX * REPORTED_MACHINE_BYTES + MESSAGE_BYTES_MAX
"""Of a region's report: every machine, and everything else."""
DEPLOYMENT_WAIT_S_MAX: Final = 60
"""Longest that a question about a deployment is held for news."""
DEPLOYMENT_LOOK_INTERVAL_S: Final = 1
"""How often a held one looks for news from other control processes."""
DEPLOYMENTS_LISTED_MAX: Final = 200
"""Under way in one region, as a look at it shows them."""
PAGE_ITEMS: Final = 50
"""In one page of a list when the caller names no number."""
PAGE_ITEMS_MAX: Final = 500
CURSOR_CHARS_MAX: Final = 1024
WORD_CHARS_MAX: Final = 256
"""Of a word that is looked up among the names of all kinds."""
IDEMPOTENCY_KEY_CHARS_MAX: Final = 255
IDEMPOTENCY_KEY_LIFETIME_S: Final = 24 * 3600
"""How long the same key is answered with what the first request made."""
TRIGGER_S_MAX: Final = 60
"""How long a client goes on sending one trigger, always under the same key, when answers are lost."""
TRIGGER_UNREACHABLE_S_MAX: Final = 5
"""The same while nobody was there to send it to: control may be restarting, or the address may be wrong."""
RETRY_S_MIN: Final = 0.25
RETRY_S_MAX: Final = 4
"""Between a client's attempts at one trigger, or at resuming a stream; doubles, with jitter."""
EVENT_TEXT_CHARS_MAX: Final = 1000
EVENTS_KEPT_S: Final = 30 * 24 * 3600
EVENTS_KEPT_MAX: Final = 200_000
HISTORY_INTERVAL_S: Final = 60
"""How often control forgets old events and idempotency keys."""
STREAMS_MAX: Final = 128
"""Streams of server-sent events that one process keeps open."""
STREAM_KEEP_ALIVE_S: Final = 15
STREAM_LOOK_INTERVAL_S: Final = 1
"""How often a stream looks for news from other control processes."""
STREAM_LOOK_S_MIN: Final = 0.2
"""Between two looks of one stream, however often it is woken."""
STREAM_SEND_S_MAX: Final = 30
"""A reader that takes nothing for so long is left."""
STREAM_SILENCE_S_MAX: Final = 3 * STREAM_KEEP_ALIVE_S
"""A reader takes a stream for dead after this."""
STREAM_AWAY_S_MAX: Final = 60
"""How long a reader tries to resume a stream before it gives up."""
STREAM_EVENT_BYTES_MAX: Final = 64 * MIB
"""Of one event; the largest is a page of a build's log that is nothing but line ends."""
BRANCHES_SHOWN_MAX: Final = 10
"""Of a repository that lacks the one that is meant."""
COMMIT_PREFIX_CHARS_MIN: Final = 4
"""Hex digits that name a commit; with fewer, too many begin alike."""
CONTROL_STOP_S_MAX: Final = 2
"""How long a stopping control process lets its loops finish their turn."""
CONTROL_AWAY_S_MAX: Final = 60
"""How long a command that waits for something goes on asking a control process that does not answer."""
ANSWER_BYTES_MAX: Final = 256 * MIB
"""Of one answer; the largest is a snapshot of the global KV."""
TOKEN_BYTES: Final = 32
