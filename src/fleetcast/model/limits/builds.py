"""From the order of a build to its artifact; in part the defaults of settings."""

from __future__ import annotations

from typing import Final

from fleetcast.model.limits.units import GIB, KIB, MIB

# The queue (defaults of settings)
BUILD_ATTEMPTS_MAX: Final = 3
BUILD_COMMAND_S_MAX: Final = 15 * 60
BUILD_PACK_UPLOAD_S_MAX: Final = 5 * 60
BUILD_QUEUED_S_MAX: Final = 2 * 3600
BUILD_SERVICE_RUNNING_MAX: Final = 10
"""Of one service at a time, so that no team takes every worker; an urgent build may be one more."""
BUILD_URGENT_AHEAD_S: Final = 3600
"""An urgent build stands in line as if it had been ordered so much earlier: it passes all that are not older by more, and an
ordinary build is passed only by what becomes urgent within so long after its own order."""
BUILD_RETRY_S: Final = 15
"""A build that an attempt lost through no fault of its own is tried again at once, then after so long, then twice as long."""
BUILD_RETRY_S_MAX: Final = 600
BUILD_CLAIMS_AT_ONCE_MAX: Final = 128
"""Claims that share one transaction; heartbeats and ends likewise."""
BUILD_REAPED_AT_ONCE_MAX: Final = 100
"""Builds that the reaper changes in one transaction."""
LOST_BLOBS_LOOK_BACK_S: Final = 24 * 3600
"""Control may be away for so long and still drop what an attempt had uploaded when it lost its build meanwhile."""
LOST_BLOBS_AGAIN_S: Final = 150
"""For so long a commit may be under way whose attempt has lost its build."""
BUILD_RETENTION_DAYS: Final = 90
"""A build that ended longer ago is forgotten with its log; its artifact stays, and its figures, by service and day."""
BUILDS_FORGOTTEN_AT_ONCE_MAX: Final = 200
"""In one transaction."""
HISTORY_DAYS: Final = 14
"""Of builds, when somebody who asks names no number."""
HISTORY_DAYS_MAX: Final = 3660
QUEUE_LISTED_MAX: Final = 200
"""Builds that wait, and as many that run, in one look at the queue; all of them are counted."""
WORKER_NAME_CHARS_MAX: Final = 200
HEARTBEAT_INTERVAL_S: Final = 180
HEARTBEAT_SILENCE_S_MAX: Final = 600
REAPER_INTERVAL_S: Final = 30
CLAIM_WAIT_S_MAX: Final = 30
CLAIM_POLL_INTERVAL_S: Final = 5
BUILD_WATCH_INTERVAL_S_MIN: Final = 1
"""Between two questions of a worker whether its attempt may go on, each of them held up to ``CLAIM_WAIT_S_MAX``."""
BUILD_REASON_CHARS_MAX: Final = 2000
BUILD_GRANTS_MAX: Final = 256
"""Parts of an upload that one call asks URLs for."""
BUILD_LOG_BYTES_MAX: Final = 64 * MIB
BUILD_LOG_READ_BYTES_MAX: Final = 1 * MIB
"""About how much of a log one answer carries."""
BUILD_LOG_TAIL_BYTES: Final = 4 * KIB
BUILD_KILL_GRACE_S: Final = 10
BUILD_MEMORY_BYTES_MAX: Final = 8 * GIB
"""Of all processes of one build together, and of what each may ask for by itself."""
BUILD_PROCESSES_MAX: Final = 4096
"""Of one build at a time, threads counted as well."""
BUILD_DISK_BYTES_MAX: Final = 20 * GIB
"""Of one build's checkout, its home and /tmp together, and of each file."""
BUILD_OPEN_FILES_MAX: Final = 8192
"""Of each process of a build, where the worker's own limit is not lower."""
BUILD_SHARED_MEMORY_BYTES_MAX: Final = 256 * MIB
"""Of a build's /dev/shm."""
BUILD_LOOK_INTERVAL_S: Final = 0.5
"""How often a worker looks what a build uses; less often where looking takes long."""
BUILD_LOOK_SHARE_MAX: Final = 0.2
"""Of the time that may be spent with looking."""
BUILD_UID_FIRST: Final = 60_800
"""Builds of a worker that runs as root are users of their own from here on, one for each slot: a range that neither
distributions nor systemd give away."""
BUILD_ENVIRONMENT_SHOWN_CHARS_MAX: Final = 4000
"""Of a build's environment in the head of its log."""
MIRRORS_BYTES_MAX: Final = 50 * GIB
"""Of a worker's mirrors of repositories; beyond it those that were not used for longest go."""
SANDBOX_PROBE_S_MAX: Final = 20
"""How long trying the sandbox out may take when a worker starts."""
DRAIN_S_MAX: Final = 30 * 60
"""How long a worker that was told to stop finishes what runs."""
WORKER_SLOTS_MAX: Final = 64
SCALE_LOOK_INTERVAL_S: Final = 2
"""How often a worker whose slots follow the load looks at the queue."""
SCALE_DOWN_S: Final = 300
"""A slot that was wanted at no time in so long ends."""
BUILD_SOURCE_S_MAX: Final = 5 * 60
"""Fetching and checking out the commit."""
BUILD_LOG_PIECE_BYTES_MAX: Final = 256 * KIB
BUILD_LOG_SEND_INTERVAL_S: Final = 0.5
BUILD_FINISH_S_MAX: Final = 120
"""How long a worker goes on telling control how a build ended. After that the reaper decides."""
BUILD_RUNNING_S_MAX: Final = BUILD_SOURCE_S_MAX + BUILD_COMMAND_S_MAX + BUILD_PACK_UPLOAD_S_MAX + BUILD_FINISH_S_MAX
"""What the queue allows one attempt that sends heartbeats. The worker keeps the shorter limits itself."""
BUILD_HAND_BACK_S_MAX: Final = 5
"""The same for a worker that is stopping."""
BUILD_STOP_S_MAX: Final = CLAIM_POLL_INTERVAL_S + BUILD_WATCH_INTERVAL_S_MIN + BUILD_KILL_GRACE_S + 2
"""From the end of a build that somebody stopped to the end of its processes: until its worker has heard, SIGTERM, SIGKILL."""
UPLOAD_PART_ATTEMPTS_MAX: Final = 8
"""With the waits between them: about three quarters of a minute."""
UPLOAD_GRANTS_AT_ONCE: Final = 32
RECIPE_BYTES_MAX: Final = 64 * KIB
WORKER_BACKOFF_S_MAX: Final = 30

SERVICE_SPEC_BYTES_MAX: Final = 64 * KIB
"""A registered service as a message: its selector is part of a goal, its recipe of a signed root."""
