"""What the engines and their doors allow."""

from __future__ import annotations

from typing import Final

from fleetcast.model.limits.artifacts import MANIFEST_BYTES_MAX
from fleetcast.model.limits.units import KIB, MIB

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

S3_PREFIX_BYTES_MAX: Final = 256
"""Of a store's URL: with a key it is no longer than a store takes."""
S3_HOST_CHARS_MAX: Final = 253
"""Of the endpoint in it: as long as a name of DNS may be."""
S3_CONNECT_S_MAX: Final = 5
S3_ATTEMPTS_MAX: Final = 3
"""How often one request is sent to a store that fails or is too busy, before that is told."""
S3_CONNECTIONS_MAX: Final = 32
"""Requests of one process that a store answers at a time; bulk data goes over others."""
S3_PAGE: Final = 1000
"""Entries of one page of a listing: the most that a store gives."""
S3_LANES_MAX: Final = 64
"""Transfers between one process and a store at a time; who wants another one waits."""
S3_LANE_WAIT_S_MAX: Final = 30
S3_LANE_BYTES: Final = 256 * KIB
"""Buffer of one transfer through a region's data port."""
S3_LANE_SEND_S_MAX: Final = 10
"""In which a reader must have taken that, or is cut off: a dead one is not worth the wait of those who want its transfer."""
S3_KNOWN_MAX: Final = 1024
"""Blobs whose size and grant a data port remembers."""

# Rates
RATE_BYTES_PER_S_MIN: Final = 128 * KIB
"""The lowest limit that may be set: a machine's neighbours each have a chunk moved in a quarter of a minute."""
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
KV_HELD_MAX: Final = 256
"""Questions of regions that one control process holds: two for each region; who asks beyond is answered at once, and asks again
a second later."""
KV_CHANGES_MAX: Final = 1000
"""Changes in one answer; the asker goes on from the last one's revision."""
KV_CHANGES_BYTES_MAX: Final = 2 * MIB
"""Values in one answer; a single change may be larger."""
KV_LOOK_INTERVAL_S: Final = 0.25
"""How often somebody who waits for changes looks for those of other processes."""
KV_PAGE_ENTRIES_MAX: Final = 200
"""Entries that are read at a time by who reads all of a store."""
KV_HISTORY_REVISIONS: Final = 100_000
"""Revisions kept behind the newest before compaction."""
KV_COMPACT_INTERVAL_S: Final = 600

# etcd behind the same door
ETCD_SERVERS_MAX: Final = 9
"""Named in one URL."""
ETCD_CONNECT_S_MAX: Final = 3
ETCD_ANSWER_S_MAX: Final = 8
"""Of one server; then the next is asked."""
ETCD_CALL_S_MAX: Final = 20
"""Of all servers that one call asks."""
ETCD_WATCH_S_MAX: Final = 20
"""A watch is begun anew after this, so that a server that vanished without a word holds nobody for longer."""
ETCD_PAGE_ENTRIES_MAX: Final = 200
"""Of a snapshot, in one answer of a server."""
ETCD_EVENTS_BYTES_MAX: Final = 64 * MIB
"""Of one message of a watch."""
ETCD_CONNECTIONS_MAX: Final = 512
"""Of one process: each that waits for changes takes one."""
