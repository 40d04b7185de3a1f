"""What must hold between bounds."""

from __future__ import annotations

from fleetcast.model.limits.artifacts import (
    ARTIFACT_CONTENT_BYTES_MAX,
    CHUNK_AVERAGE_BYTES,
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    MANIFEST_BYTES_MAX,
    MANIFEST_PIECES_MAX,
)
from fleetcast.model.limits.builds import BUILD_LOG_READ_BYTES_MAX, HEARTBEAT_INTERVAL_S, HEARTBEAT_SILENCE_S_MAX
from fleetcast.model.limits.checks import CHECK_EVERY_S_MIN, CHECK_LEASE_S, CHECK_S_MAX, CHECK_WAIT_S_MAX
from fleetcast.model.limits.fleet import (
    AGENT_REPORT_INTERVAL_S,
    COPY_BACKOFF_S_MAX,
    COPY_FAILING_S_MAX,
    COPY_LANES_MAX,
    COPY_PARTS_AT_ONCE_MAX,
    DISTRIBUTE_S_MAX,
    MACHINE_SILENCE_S_MAX,
    REGION_REPORT_INTERVAL_S,
    REGION_SILENCE_S_MAX,
    REPLICATE_S_MAX,
)
from fleetcast.model.limits.holds import FREEZE_LOOK_S, HOLD_S_MAX
from fleetcast.model.limits.http import MESSAGE_BYTES_MAX, STREAM_EVENT_BYTES_MAX
from fleetcast.model.limits.machines import SERVICE_DRAIN_S_MAX, STOP_GRACE_S
from fleetcast.model.limits.processes import CONTROL_FORGOTTEN_S, CONTROL_SEEN_INTERVAL_S, CONTROL_SEEN_S_MAX
from fleetcast.model.limits.pushes import (
    HOOK_AGE_S_MAX,
    HOOK_DELIVERIES_KEPT_S,
    POLL_LEASE_S,
    POLL_LOOK_S_MAX,
    STATUS_LEASE_S,
    STATUS_SEND_S_MAX,
)
from fleetcast.model.limits.retention import (
    COLLECTING_INTERVAL_S,
    MAIN_RETENTION_BYTES,
    MAIN_RETENTION_COUNT,
    MAIN_RETENTION_DAYS,
    RECORD_AGAIN_S,
    REGION_RETENTION_BYTES,
    REGION_RETENTION_COUNT,
    REGION_RETENTION_DAYS,
    RETENTION_INTERVAL_S,
    SURPLUS_RETRY_S,
)
from fleetcast.model.limits.stores import (
    BLOB_PART_BYTES,
    BLOB_PARTS_MAX,
    ETCD_CONNECTIONS_MAX,
    KV_CHANGES_BYTES_MAX,
    KV_HELD_MAX,
    KV_VALUE_BYTES_MAX,
    RATE_BYTES_PER_S_MIN,
    RATE_LOOK_S,
    S3_LANE_BYTES,
    S3_LANE_SEND_S_MAX,
    S3_LANE_WAIT_S_MAX,
)
from fleetcast.model.limits.swarm import (
    ANNOUNCE_INTERVAL_S,
    ANNOUNCE_LIFETIME_S,
    ORIGIN_STALL_S_MAX,
    SWARM_CLOSE_S_MAX,
    SWARM_FRAME_BYTES_MAX,
    SWARM_IN_LINE_S_MAX,
    SWARM_NEIGHBOURS,
    SWARM_PIECE_S_MAX,
    SWARM_PROGRESS_BYTES,
    SWARM_SLOW_BYTES_PER_S,
    SWARM_STALL_S_MAX,
    SWARM_UNPAID_S_MAX,
)
from fleetcast.model.limits.webhooks import (
    WEBHOOK_BACKOFF_S_MAX,
    WEBHOOK_DELIVERIES_KEPT_S,
    WEBHOOK_LEASE_S,
    WEBHOOK_SEND_S_MAX,
    WEBHOOK_TOLD_S_MAX,
)

# A manifest piece goes through the buffers that are there for chunks.
assert MANIFEST_BYTES_MAX <= MANIFEST_PIECES_MAX * CHUNK_BYTES_MAX
assert CHUNK_BYTES_MIN < CHUNK_AVERAGE_BYTES < CHUNK_BYTES_MAX < SWARM_FRAME_BYTES_MAX
assert HEARTBEAT_SILENCE_S_MAX > 2 * HEARTBEAT_INTERVAL_S
assert ARTIFACT_CONTENT_BYTES_MAX <= BLOB_PART_BYTES * BLOB_PARTS_MAX
assert KV_VALUE_BYTES_MAX <= KV_CHANGES_BYTES_MAX < MESSAGE_BYTES_MAX
# Whoever waits for changes leaves connections to those who ask and write.
assert KV_HELD_MAX <= ETCD_CONNECTIONS_MAX // 2
assert S3_LANE_SEND_S_MAX < S3_LANE_WAIT_S_MAX
# A machine with the lowest limit takes what is sent to it, some artifacts at a time.
assert 4 * S3_LANE_BYTES / RATE_BYTES_PER_S_MIN < S3_LANE_SEND_S_MAX
assert ORIGIN_STALL_S_MAX < SWARM_CLOSE_S_MAX
assert len("data: \n") * (BUILD_LOG_READ_BYTES_MAX + MESSAGE_BYTES_MAX) < STREAM_EVENT_BYTES_MAX
assert SWARM_PROGRESS_BYTES / SWARM_SLOW_BYTES_PER_S < SWARM_UNPAID_S_MAX
assert SWARM_NEIGHBOURS * CHUNK_AVERAGE_BYTES / RATE_BYTES_PER_S_MIN <= SWARM_STALL_S_MAX
assert RATE_LOOK_S < SWARM_UNPAID_S_MAX / 2
# A neighbour is doubted before it is dropped.
assert SWARM_IN_LINE_S_MAX < SWARM_PIECE_S_MAX
assert SWARM_UNPAID_S_MAX + CHUNK_BYTES_MAX / SWARM_SLOW_BYTES_PER_S < SWARM_PIECE_S_MAX
# The regions give up sooner than the main store, and a step that fails is taken again before that is decided anew.
assert REGION_RETENTION_DAYS <= MAIN_RETENTION_DAYS
assert REGION_RETENTION_COUNT <= MAIN_RETENTION_COUNT
assert REGION_RETENTION_BYTES <= MAIN_RETENTION_BYTES
assert SURPLUS_RETRY_S <= COLLECTING_INTERVAL_S <= RETENTION_INTERVAL_S < RECORD_AGAIN_S
# A push that is not too old to be taken is remembered if it was taken before.
assert HOOK_AGE_S_MAX + 24 * 3600 < HOOK_DELIVERIES_KEPT_S
assert STATUS_LEASE_S > 2 * STATUS_SEND_S_MAX
assert WEBHOOK_LEASE_S > 2 * WEBHOOK_SEND_S_MAX
assert WEBHOOK_BACKOFF_S_MAX < WEBHOOK_TOLD_S_MAX < WEBHOOK_DELIVERIES_KEPT_S
assert POLL_LEASE_S > 2 * POLL_LOOK_S_MAX
assert ANNOUNCE_LIFETIME_S >= 2 * ANNOUNCE_INTERVAL_S
assert MACHINE_SILENCE_S_MAX > 2 * AGENT_REPORT_INTERVAL_S
# One copy alone does not have all lanes, and what is said of a copy or a region is said before a deployment gives up on it.
assert COPY_PARTS_AT_ONCE_MAX < COPY_LANES_MAX
assert COPY_BACKOFF_S_MAX < COPY_FAILING_S_MAX < REPLICATE_S_MAX
assert 2 * REGION_REPORT_INTERVAL_S < REGION_SILENCE_S_MAX < REPLICATE_S_MAX
assert 2 * CONTROL_SEEN_INTERVAL_S < CONTROL_SEEN_S_MAX < CONTROL_FORGOTTEN_S
# Whoever is held back is told the end of a freeze, unless that comes after its own.
assert HOLD_S_MAX < FREEZE_LOOK_S
assert CHECK_LEASE_S > 2 * CHECK_S_MAX
assert 2 * CHECK_EVERY_S_MIN + CHECK_S_MAX < CHECK_WAIT_S_MAX
# Whoever is given time to end is given more than others, and has ended before a deployment gives up on its machine.
assert STOP_GRACE_S < SERVICE_DRAIN_S_MAX < DISTRIBUTE_S_MAX
