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
PATH_BYTES_MAX: Final = 4095
"""From the top of the artifact on: what Linux takes in one call."""
LINK_TARGET_BYTES_MAX: Final = 4095
LINK_STEPS_MAX: Final = 10 * ARTIFACT_ENTRIES_MAX
"""Parts of the targets of all symlinks of an artifact together."""
MANIFEST_BYTES_MAX: Final = 64 * MIB
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
BLOB_KEY_PART_BYTES_MAX: Final = 255
"""Between two slashes of a key: what a file system takes as a name."""
BLOB_UPLOAD_IDLE_S_MAX: Final = 24 * 3600
"""An upload that got no part for so long may be dropped by its store."""
BLOB_READ_BYTES_MAX: Final = MANIFEST_BYTES_MAX
"""Most that one in-memory read of a blob returns; more goes by grant."""
GRANT_LIFETIME_S: Final = 3600
DATA_PORT_CONNECTIONS_MAX: Final = 1024
DATA_PORT_IDLE_S_MAX: Final = 60
DATA_PORT_CLOSE_S_MAX: Final = 5
"""How long closing waits for each thread."""
DATA_PORT_PARTS_MAX: Final = 16
"""Parts received at a time; each holds one buffer of ``BLOB_PART_BYTES``."""
DATA_PORT_PART_S_MAX: Final = 300
"""From a part's first byte to its last."""
DATA_PORT_LOOK_S_MAX: Final = 5
"""How long a process waits for an answer when it looks into the bucket of another."""
DATA_PORT_LOOK_LIFETIME_S: Final = GRANT_LIFETIME_S
"""Of the grants with which one process looks into the bucket of another, whose clock may be off."""

# Rates
RATE_BYTES_PER_S_MIN: Final = 128 * KIB
"""The lowest limit that may be set: a machine's eight neighbours each have a chunk moved in a quarter of a minute."""
RATE_SLACK_S: Final = 0.05
"""How much of a rate may be made up for by whoever was late."""
RATE_AHEAD_S: Final = 0.5
"""Of a machine's limit: what may be on its way before what came is paid for, beyond one piece for each connection."""
RATE_LOOK_S: Final = 0.5
"""How often somebody who waits for a limit looks whether it still should, and tells who waits for it."""
ORIGIN_SLICE_BYTES: Final = 64 * KIB
"""What an origin with a limit sends of a piece at a time, so that none of its readers waits long for a byte."""
ORIGIN_AHEAD_S: Final = 2.0
"""Of an origin's limit: what may be leased and not yet read."""

# The database
SQLITE_BUSY_S_MAX: Final = 30
"""Longest wait for another process's write transaction."""
DATABASE_READERS_MAX: Final = 4
"""Connections of one process to the embedded database that read at a time; one more writes."""
POSTGRESQL_CONNECTIONS_MAX: Final = 10
"""Of one process, for snapshots and for what may run beside others; one more is for what is serialised."""
POSTGRESQL_CONNECT_S_MAX: Final = 10
POSTGRESQL_WAIT_S_MAX: Final = 30
"""Longest wait for a connection, for another process's transaction or for a row; and for one statement to be carried out."""
POSTGRESQL_IDLE_S_MAX: Final = 60
"""A transaction whose process says nothing for so long is ended by the server: it may have been stopped."""
POSTGRESQL_SILENCE_S_MAX: Final = 30
"""A connection whose server's host acknowledges nothing for so long is given up."""
NOTICE_RETRY_S: Final = 0.1
NOTICE_RETRY_S_MAX: Final = 10.0
"""Between two attempts to listen for notices of the database, doubling; meanwhile claims are found by polling."""

# Key-value stores
KV_KEY_BYTES_MAX: Final = 512
KV_VALUE_BYTES_MAX: Final = 512 * KIB
KV_WAIT_S_MAX: Final = 60
KV_CHANGES_MAX: Final = 1000
"""Changes in one answer; the asker goes on from the last one's revision."""
KV_CHANGES_BYTES_MAX: Final = 2 * MIB
"""Values in one answer; a single change may be larger."""
KV_LOOK_INTERVAL_S: Final = 0.25
"""How often somebody who waits for changes looks for those of other processes."""
KV_HISTORY_REVISIONS: Final = 100_000
"""Revisions kept behind the newest before compaction."""
KV_COMPACT_INTERVAL_S: Final = 600

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

# Regions and goals (defaults of settings)
KV_POLL_INTERVAL_S: Final = 10
REGION_REPORT_INTERVAL_S: Final = 5
AGENT_REPORT_INTERVAL_S: Final = 15
REPLICATION_CHECK_INTERVAL_S: Final = 5
REPLICATION_RECHECK_INTERVAL_S: Final = 60
"""How often a COMPLETE copy is looked at again."""
REPLICATION_LOOKS_MAX: Final = 4
"""Questions to one bucket in flight at a time."""
GOAL_LIFETIME_S: Final = 24 * 3600
ROLLOUT_INTERVAL_S: Final = 1
"""How often the controller looks without being woken."""
ROLLOUT_LEASE_S: Final = 15
"""How long a controller's claim on a deployment lives without renewal: another goes on after that."""
DISTRIBUTE_S_MAX: Final = 30 * 60
REPLICATE_S_MAX: Final = 30 * 60
REASON_NAMES_MAX: Final = 5
"""Machines, or regions, that a reason names before it counts the others."""
SILENT_MACHINES_NAMED_MAX: Final = 20
ROLLUP_FAILURES_MAX: Final = 20
ROLLUP_MACHINES_MAX: Final = 40
"""Machines of a region that a live picture shows one by one."""
ROLLUP_SETTLED_S: Final = 60
"""A region all of whose machines have been active for so long names them one by one no more: nobody looks."""
ROLLUP_AFTERMATH_S: Final = 60
"""How long after a deployment's end its picture still follows its machines: those that failed go back after it."""
PROGRESS_INTERVAL_S_MIN: Final = 1.0
"""While things move, agents and regions report this often at most, and never less often than usually."""
PROGRESS_MACHINES_PER_S: Final = 500
"""Machines of a region whose progress is told in a second: a larger region tells it at longer intervals."""
GOAL_WAIT_S_MAX: Final = 30
MACHINE_SILENCE_S_MAX: Final = 60
"""After this without a report a region no longer counts a machine as reporting."""
PERMIT_LIFETIME_S: Final = 300
MIRROR_SNAPSHOT_INTERVAL_S: Final = 600
"""How often a region reads all of the global KV instead of what changed."""
COPIES_AT_ONCE_MAX: Final = 4
COPY_STALL_S_MAX: Final = 15
"""A source that sends nothing for so long ends the attempt."""
COPY_BACKOFF_S_MAX: Final = 60
COPY_PARTS_AT_ONCE_MAX: Final = 2
"""Parts of one copy under way, each with a buffer of its own."""
REGION_MACHINES_MAX: Final = 50_000
MACHINE_FORGOTTEN_S: Final = 24 * 3600
"""A region drops a machine that was silent for so long."""
REPORTED_LINES_MAX: Final = 50
"""Alarms of one machine that its region passes on."""
REPORTED_LINE_CHARS_MAX: Final = 1000
"""Of an error, a reason or an alarm of a machine; its region cuts longer ones."""
ALARMS_MAX: Final = 100
"""Named in one report of a region."""
ALARM_LIFETIME_S: Final = 600
GIVEN_LABELS_MAX: Final = 16
"""Labels that people give to one machine."""
LABEL_VALUE_BYTES_MAX: Final = 128
LABELS_PUBLISHED_AT_ONCE_MAX: Final = 100
"""Machines whose labels one turn of the controller brings into the KV."""
MACHINE_WAIT_S_MAX: Final = 60
"""Longest that a question about a machine waits for its region."""
MACHINE_QUESTIONS_MAX: Final = 100
"""Machines of one region that are asked about at a time."""
MACHINE_QUESTION_S_MAX: Final = 120
"""A question that was not answered for so long is dropped, an answer so old as well."""
TOMBSTONE_S: Final = 30 * 24 * 3600
"""How long the tombstone of a removed service is renewed. A machine that is away for longer keeps what it runs."""
NEAR_NAMES_MAX: Final = 5
"""Names that an error suggests in place of an unknown one."""
NEAR_CANDIDATES_MAX: Final = 500
"""Names of a kind that are looked at for that."""

# The swarm
SWARM_NEIGHBOURS: Final = 8
"""Peers an agent fetches from at a time; those of its own rack, where racks are known."""
SWARM_NEIGHBOURS_FAR: Final = 3
"""Peers of other racks beside them; more where the rack has not so many."""
SWARM_INTRODUCED_MAX: Final = 24
SWARM_IN_FLIGHT_MIN: Final = 8
"""Pieces an agent has asked for at a time, over all neighbours, of one artifact."""
SWARM_IN_FLIGHT_MAX: Final = 32
SWARM_IN_FLIGHT_S: Final = 0.1
"""Between these bounds it asks for what arrives in so long."""
SWARM_COMING_S_MAX: Final = 5
"""A piece that a neighbour of the same rack said was coming is asked for elsewhere after so long."""
SWARM_UPLOADS_MAX: Final = 64
"""Connections an agent serves at a time."""
SWARM_FRAME_BYTES_MAX: Final = 2 * MIB
SWARM_CONNECT_S_MAX: Final = 5
SWARM_STALL_S_MAX: Final = 20
"""A neighbour that owes bytes and sends none for so long is dropped."""
SWARM_PIECE_S_MAX: Final = 30
"""A neighbour that takes longer over one piece is dropped, even if bytes trickle."""
SWARM_UNPAID_S_MAX: Final = 2.5
"""A neighbour that owes a piece and brings none for so long does not count as having what it claims until it does."""
SWARM_IN_LINE_S_MAX: Final = 15
"""The same for one that keeps saying that its rate limit holds it up."""
SWARM_SLOW_BYTES_PER_S: Final = 128 * KIB
"""While a piece arrives faster than this its sender is not overdue: 8 neighbours on a link of 1 MB/s."""
SWARM_PROGRESS_BYTES: Final = 128 * KIB
"""How much of a piece is received between two looks at how far it is."""
SWARM_BUFFERS_KEPT: Final = 16
"""Of ``CHUNK_BYTES_MAX``, for pieces that arrive: what an agent keeps of those that are free."""
SWARM_UNSENT_BYTES_MAX: Final = 64 * KIB
"""What waits in one socket to be sent for the first time."""
SWARM_KNOWN_PEERS_MAX: Final = 128
"""Addresses of peers an agent remembers per artifact."""
SWARM_USELESS_S_MAX: Final = 10
"""A neighbour that gave nothing for so long makes room for another."""
SWARM_STARVING_S_MAX: Final = 1.0
"""The same when there is nothing to ask of any neighbour."""
SWARM_CHANGE_S_MIN: Final = 1.0
"""Between leaving one neighbour and another for somebody else."""
SWARM_NEWCOMER_S_MIN: Final = 5.0
"""The same, for a newcomer."""
SWARM_CROWDED: Final = 1.3
"""A neighbour that serves so many times as many as neighbours do on average makes room for another."""
SWARM_REDIAL_S_MAX: Final = 30
SWARM_DIALS_IN_VAIN_MAX: Final = 5
"""Failures in a row before an address is forgotten."""
SWARM_END_GAME_AGE_S_MIN: Final = 0.7
"""A piece asked for longer ago than this may be asked of a second neighbour once every piece was asked of somebody."""
SWARM_END_GAME_COPIES_MAX: Final = 2
SWARM_LACKS_MAX: Final = 16
"""Pieces that a neighbour announced and then has not, before it is left."""
SWARM_HELLO_BYTES_MAX: Final = 4 * KIB
SWARM_HAVE_PIECES_MAX: Final = 4096
"""News in one frame."""
SWARM_ALARMS_KEPT: Final = 20
SWARM_CLOSE_S_MAX: Final = 10
"""How long closing waits for threads that are inside a call to the region or the origin."""
SWARM_NEWS_S: Final = 0.02
"""How long news is gathered before those who wait for it are told."""
HAVE_WAIT_MS_MAX: Final = 1000
"""How long a neighbour holds a question for news before it answers 'none'."""
ANNOUNCE_INTERVAL_S: Final = 5
ANNOUNCE_LIFETIME_S: Final = 20
TICKET_LIFETIME_S: Final = 3600
ORIGIN_LEASE_S: Final = 30
ORIGIN_LEASE_CHUNKS_MAX: Final = 64
"""Pieces handed out in one answer."""
ORIGIN_LEASE_READ_S: Final = 0.1
"""A lease is worth at least what the origin brings in so long, up to ``ORIGIN_LEASE_CHUNKS_MAX``: fewer are not leased."""
ORIGIN_IN_FLIGHT_MIN: Final = 16
"""Pieces of an artifact on lease at a time in a region, machines that are slow with theirs left out."""
ORIGIN_IN_FLIGHT_MAX: Final = 512
ORIGIN_IN_FLIGHT_S: Final = 0.35
"""Between these bounds what the origin brings in so long is on lease."""
ORIGIN_SLOW_S: Final = 2.0
"""A lease that takes longer keeps nobody else from one."""
ORIGIN_GRANTS_PER_CHUNK: Final = 2
"""While a holder lives."""
ORIGIN_REGRANT_S_MIN: Final = 20
"""A held piece is granted a second time only so long after its holder had it: until then it travels between peers."""
ORIGIN_EXTRA_PIECES_PER_S: Final = 8
"""Grants beyond ``ORIGIN_GRANTS_PER_CHUNK``, per artifact and region."""
ORIGIN_WAIT_S_MAX: Final = 5
"""Longest that a request for leases is held."""
ORIGIN_WAITING_MAX: Final = 64
"""Requests held at a time, of one artifact."""
ORIGIN_RETRY_S: Final = 0.5
"""When a peer that was granted nothing, and not held, asks again."""
ORIGIN_STALL_S_MAX: Final = 8
"""An origin that sends nothing for so long is left alone for a while."""
ORIGIN_RANGES_MAX: Final = 256
"""Ranges of missing pieces named in one lease request."""
ORIGIN_SCAN_PIECES_MAX: Final = 4096
"""Pieces looked at for one lease request."""

# Releases on a machine
RELEASES_SUCCEEDED_KEPT: Final = 2
"""Beside goal, baseline and previous (law 5)."""
STOP_GRACE_S: Final = 10
HEALTH_TIMEOUT_S: Final = 60.0
HEALTH_TIMEOUT_S_MAX: Final = 3600
HEALTH_INTERVAL_S: Final = 0.25
ACTIVATION_SETTLE_S: Final = 0.5
"""Without a health check: how long a process must live to count as healthy."""
RESTART_BACKOFF_S_MAX: Final = 30
RESTART_STABLE_S: Final = 60
"""A process that lived so long starts its backoff from the beginning when it dies."""
KILL_S_MAX: Final = 30
"""How long a killed process may take to disappear before we stop waiting for it."""
SERVICE_LOG_BYTES_MAX: Final = 64 * MIB
"""Of a service's output on a machine; then it becomes the one earlier log kept beside it."""
AGENT_TICK_S: Final = 5
"""How often an agent looks at each service when nothing happens."""
AGENT_RETRY_S_MIN: Final = 0.5
AGENT_RETRY_S_MAX: Final = 15
"""Between an agent's attempts at what failed for reasons outside of it; doubles, with jitter."""
MACHINE_ALARMS_MAX: Final = 20
MACHINE_ALARM_S: Final = 600
"""How long a machine repeats an alarm after its last occasion."""

# An installation's processes
PROCESS_READY_S_MAX: Final = 90
"""From the start of the first process to the last one being ready."""
PROCESS_STOP_S_MAX: Final = 12
"""From the request to stop a tier until its processes are killed."""
PROCESS_ORPHANED_S_MAX: Final = 15
"""How long a process may take to end after its supervisor is gone, before it ends at once."""
PROCESS_RESTART_S_MIN: Final = 0.5
PROCESS_RESTART_S_MAX: Final = 30
"""Between the end of a process and its next start; doubles."""
PROCESS_STEADY_S: Final = 60
"""A process that lived so long is well again: its next end counts as the first."""
PROCESS_LOG_BYTES_MAX: Final = 8 * MIB
"""A larger log of a process is put aside (one is kept)."""
PROCESS_LOG_LOOK_INTERVAL_S: Final = 30
SETTINGS_LOOK_INTERVAL_S: Final = 2
"""How often a process looks whether its settings file was changed."""

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

# Clocks
CLOCK_SKEW_S_MAX: Final = 60
"""How far a clock may be off its neighbour's before somebody is told."""
CLOCK_JUMP_S_MIN: Final = 2
"""From there on two clocks of one host differ by a jump, not by the time between two looks at them."""

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

# A manifest piece goes through the buffers that are there for chunks.
assert MANIFEST_BYTES_MAX <= MANIFEST_PIECES_MAX * CHUNK_BYTES_MAX
assert CHUNK_BYTES_MIN < CHUNK_AVERAGE_BYTES < CHUNK_BYTES_MAX < SWARM_FRAME_BYTES_MAX
assert HEARTBEAT_SILENCE_S_MAX > 2 * HEARTBEAT_INTERVAL_S
assert ARTIFACT_CONTENT_BYTES_MAX <= BLOB_PART_BYTES * BLOB_PARTS_MAX
assert KV_VALUE_BYTES_MAX <= KV_CHANGES_BYTES_MAX < MESSAGE_BYTES_MAX
assert ORIGIN_STALL_S_MAX < SWARM_CLOSE_S_MAX
assert len("data: \n") * (BUILD_LOG_READ_BYTES_MAX + MESSAGE_BYTES_MAX) < STREAM_EVENT_BYTES_MAX
assert SWARM_PROGRESS_BYTES / SWARM_SLOW_BYTES_PER_S < SWARM_UNPAID_S_MAX
assert SWARM_NEIGHBOURS * CHUNK_AVERAGE_BYTES / RATE_BYTES_PER_S_MIN <= SWARM_STALL_S_MAX
assert RATE_LOOK_S < SWARM_UNPAID_S_MAX / 2
# A neighbour is doubted before it is dropped.
assert SWARM_IN_LINE_S_MAX < SWARM_PIECE_S_MAX
assert SWARM_UNPAID_S_MAX + CHUNK_BYTES_MAX / SWARM_SLOW_BYTES_PER_S < SWARM_PIECE_S_MAX
# A push that is not too old to be taken is remembered if it was taken before.
assert HOOK_AGE_S_MAX + 24 * 3600 < HOOK_DELIVERIES_KEPT_S
assert STATUS_LEASE_S > 2 * STATUS_SEND_S_MAX
assert POLL_LEASE_S > 2 * POLL_LOOK_S_MAX
assert ANNOUNCE_LIFETIME_S >= 2 * ANNOUNCE_INTERVAL_S
assert MACHINE_SILENCE_S_MAX > 2 * AGENT_REPORT_INTERVAL_S
