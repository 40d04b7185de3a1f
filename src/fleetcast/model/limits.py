"""Every bound, with its unit in its name. Relations between bounds are asserted at the end of the file.

What an operator may choose (intervals, deadlines) is in ``launch/settings.py``, with the defaults from here.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# Artifacts
ARTIFACT_CONTENT_BYTES_MAX: Final = 10 * 1000**3
ARTIFACT_ENTRIES_MAX: Final = 1_000_000
PATH_BYTES_MAX: Final = 4096
LINK_TARGET_BYTES_MAX: Final = 4096
MANIFEST_BYTES_MAX: Final = 256 * MIB
MANIFEST_PIECES_MAX: Final = 64
MANIFEST_PIECE_AVERAGE_BYTES: Final = 32 * KIB
ROOT_ENVELOPE_BYTES_MAX: Final = 64 * KIB
CHUNK_AVERAGE_BYTES: Final = 256 * KIB
CHUNK_BYTES_MIN: Final = 64 * KIB
CHUNK_BYTES_MAX: Final = 1 * MIB

# Blobs
BLOB_PART_BYTES: Final = 8 * MIB
"""Size of every part of an upload but the last. S3 allows 10,000 parts of at least 5 MiB."""
BLOB_PARTS_MAX: Final = 10_000
BLOB_KEY_BYTES_MAX: Final = 512
BLOB_READ_BYTES_MAX: Final = MANIFEST_BYTES_MAX
"""Most that one in-memory read of a blob returns; more goes by grant."""
GRANT_LIFETIME_S: Final = 3600
DATA_PORT_CONNECTIONS_MAX: Final = 1024
DATA_PORT_IDLE_S_MAX: Final = 60

# Key-value stores
KV_KEY_BYTES_MAX: Final = 512
KV_VALUE_BYTES_MAX: Final = 512 * KIB
KV_WAIT_S_MAX: Final = 60
KV_HISTORY_REVISIONS: Final = 100_000
"""Revisions kept behind the newest before compaction."""

# The queue (defaults of settings)
BUILD_ATTEMPTS_MAX: Final = 3
BUILD_COMMAND_S_MAX: Final = 15 * 60
BUILD_PACK_UPLOAD_S_MAX: Final = 5 * 60
BUILD_QUEUED_S_MAX: Final = 2 * 3600
HEARTBEAT_INTERVAL_S: Final = 180
HEARTBEAT_SILENCE_S_MAX: Final = 600
REAPER_INTERVAL_S: Final = 30
CLAIM_WAIT_S_MAX: Final = 30
CLAIM_POLL_INTERVAL_S: Final = 5
BUILD_LOG_BYTES_MAX: Final = 64 * MIB
BUILD_LOG_TAIL_BYTES: Final = 4 * KIB
BUILD_KILL_GRACE_S: Final = 10

# Regions and goals (defaults of settings)
KV_POLL_INTERVAL_S: Final = 10
REGION_REPORT_INTERVAL_S: Final = 5
AGENT_REPORT_INTERVAL_S: Final = 15
REPLICATION_CHECK_INTERVAL_S: Final = 5
REPLICATION_RECHECK_INTERVAL_S: Final = 60
"""How often a COMPLETE copy is looked at again."""
COPY_ATTEMPTS_MAX: Final = 5
GOAL_LIFETIME_S: Final = 24 * 3600
DISTRIBUTE_S_MAX: Final = 30 * 60
REPLICATE_S_MAX: Final = 30 * 60
ROLLUP_FAILURES_MAX: Final = 20
GOAL_WAIT_S_MAX: Final = 30
MACHINE_SILENCE_S_MAX: Final = 60
"""After this without a report a region no longer counts a machine as reporting."""
PERMIT_LIFETIME_S: Final = 300

# The swarm
SWARM_NEIGHBOURS: Final = 8
"""Peers an agent fetches from at a time."""
SWARM_INTRODUCED_MAX: Final = 24
SWARM_REQUESTS_IN_FLIGHT: Final = 4
"""Per neighbour."""
SWARM_UPLOADS_MAX: Final = 64
"""Connections an agent serves at a time."""
SWARM_FRAME_BYTES_MAX: Final = 2 * MIB
SWARM_CONNECT_S_MAX: Final = 5
SWARM_STALL_S_MAX: Final = 20
"""A neighbour that owes bytes and sends none for so long is dropped."""
HAVE_WAIT_MS_MAX: Final = 250
"""How long a neighbour holds a question for news before it answers 'none'."""
ANNOUNCE_INTERVAL_S: Final = 5
ANNOUNCE_LIFETIME_S: Final = 20
TICKET_LIFETIME_S: Final = 3600
ORIGIN_LEASE_S: Final = 30
ORIGIN_LEASE_CHUNKS_MAX: Final = 16
"""Pieces handed out in one answer."""
ORIGIN_GRANTS_PER_CHUNK: Final = 2
"""While a holder lives."""

# Releases on a machine
RELEASES_SUCCEEDED_KEPT: Final = 2
"""Beside goal, baseline and previous (law 5)."""
STOP_GRACE_S: Final = 10
HEALTH_TIMEOUT_S: Final = 60.0
HEALTH_INTERVAL_S: Final = 0.25
RESTART_BACKOFF_S_MAX: Final = 30

# HTTP
HTTP_TIMEOUT_S: Final = 30
MESSAGE_BYTES_MAX: Final = 4 * MIB
TOKEN_BYTES: Final = 32

assert CHUNK_BYTES_MIN < CHUNK_AVERAGE_BYTES < CHUNK_BYTES_MAX < SWARM_FRAME_BYTES_MAX
assert HEARTBEAT_SILENCE_S_MAX > 2 * HEARTBEAT_INTERVAL_S
assert ARTIFACT_CONTENT_BYTES_MAX <= BLOB_PART_BYTES * BLOB_PARTS_MAX
assert ANNOUNCE_LIFETIME_S >= 2 * ANNOUNCE_INTERVAL_S
assert MACHINE_SILENCE_S_MAX > 2 * AGENT_REPORT_INTERVAL_S
