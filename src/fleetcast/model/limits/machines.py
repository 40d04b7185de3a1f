"""Releases and services on a machine."""

from __future__ import annotations

from typing import Final

from fleetcast.model.limits.units import GIB, MIB

# Releases on a machine
RELEASES_SUCCEEDED_KEPT: Final = 2
"""Beside goal, baseline and previous (law 5)."""
RELEASES_MORE: Final = 0
"""That a machine keeps beside those, newest first, as long as they are young and small enough (defaults of settings)."""
RELEASES_MORE_DAYS: Final = 30
RELEASES_MORE_BYTES: Final = 20 * GIB
DISK_FREE_PERCENT: Final = 2
"""Of a machine's disk, that releases leave free (default of a setting)."""
DISK_BLOCK_BYTES: Final = 4096
"""By which a file's place is rounded up, when room for a release is asked for."""
JOURNAL_RECORD_BYTES: Final = 8
"""Of a piece, in the journal of a fetch."""
ROOM_LOOK_S: Final = 2
"""How often a fetch that waits for room looks whether there is some."""
PINNED_TOLD_MAX: Final = 20
"""Pinned releases of a service that machines are told of, those pinned last."""
STOP_GRACE_S: Final = 10
"""Between asking a service to end and killing it, unless its recipe says otherwise."""
SERVICE_DRAIN_S_MAX: Final = 900
"""That a recipe may give a service which was in service."""
HEALTH_TIMEOUT_S: Final = 60.0
HEALTH_TIMEOUT_S_MAX: Final = 3600
HEALTH_INTERVAL_S: Final = 0.25
PROBE_TIMEOUT_S: Final = 5.0
"""Of one attempt of a probe, unless its recipe says otherwise."""
PROBE_TIMEOUT_S_MAX: Final = 60
PROBE_WATCH_INTERVAL_S: Final = 10.0
"""Between two attempts on a service that is well, unless its recipe says otherwise."""
PROBE_INTERVAL_S_MAX: Final = 600
PROBE_THRESHOLD_MAX: Final = 100
PROBE_ANSWER_BYTES_MAX: Final = 4096
"""Of an answer over HTTP, what is read: its status, and what a person should know of why it is that."""
SOCKETS_MAX: Final = 6
"""That a service is started with: shells hand on the descriptors 3 to 9, and one is for its health check."""
SOCKET_PATH_BYTES_MAX: Final = 107
"""Of the address of a socket: what the kernel takes of a unix socket's path."""
SOCKET_BACKLOG: Final = 4096
"""Connections that wait at a socket while nobody takes them; the kernel may allow fewer."""
KEEPER_WAIT_S_MAX: Final = 5
"""How long the keeper of a service's sockets may take to hand them over."""
ACTIVATION_SETTLE_S: Final = 0.5
"""Without a health check: how long a process must live to count as healthy."""
HOOK_TIMEOUT_S: Final = 60.0
HOOK_TIMEOUT_S_MAX: Final = 900
"""Of one run of one hook."""
HOOK_END_GRACE_S: Final = 2
"""Between asking what a hook left running to end and killing it."""
HOOK_LOG_BYTES_MAX: Final = 1 * MIB
"""Of what the runs of one hook printed on a machine; then it becomes the one earlier log kept beside it."""
HOOK_LOG_LOOK_S: Final = 0.5
"""How often that is looked at while the hook runs."""
FAILURE_LINES_MAX: Final = 10
"""Of what failed on a machine, the last that it printed are kept and reported."""
FAILURE_LINE_CHARS_MAX: Final = 200
RESTART_BACKOFF_S_MAX: Final = 30
RESTART_STABLE_S: Final = 60
"""A process that lived so long starts its backoff from the beginning when it dies."""
KILL_S_MAX: Final = 30
"""How long a killed process may take to disappear before we stop waiting for it."""
SYSTEMD_ANSWER_S_MAX: Final = 30
"""How long systemd may take to do what an agent asks of it, and a unit that has begun to come to its agent."""
SYSTEMD_CALLS_MAX: Final = 8
"""That an agent has under way at a time; more where units are stopped, each of which is waited for."""
SERVICE_LOG_BYTES_MAX: Final = 64 * MIB
"""Of a service's output on a machine; then it becomes the one earlier log kept beside it."""
AGENT_TICK_S: Final = 5
"""How often an agent looks at each service when nothing happens."""
AGENT_RETRY_S_MIN: Final = 0.5
AGENT_RETRY_S_MAX: Final = 15
"""Between an agent's attempts at what failed for reasons outside of it; doubles, with jitter."""
DRIFT_LOOK_S: Final = 10
"""How often an agent looks at a part of what runs on its machine, whether somebody has changed it."""
DRIFT_ENTRIES_PER_LOOK: Final = 500
DRIFT_HASHED_BYTES_PER_LOOK: Final = 64 * MIB
"""Of files whose times or modes have changed; one larger file is read in one go."""
DRIFT_ENTRIES_MAX: Final = 100_000
"""The files of a release of more are not looked at: their table would stay in memory."""
DRIFT_REPAIR_PAUSE_S: Final = 60
"""Between two repairs of one service: who changes files again and again is not fought at once."""
DRIFT_LINES_MAX: Final = 10
"""Paths that are reported as changed; the rest is counted."""
MACHINE_ALARMS_MAX: Final = 20
MACHINE_ALARM_S: Final = 600
"""How long a machine repeats an alarm after its last occasion."""
