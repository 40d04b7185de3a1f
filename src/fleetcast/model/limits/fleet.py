"""Copies, goals, rollouts and reports; in part the defaults of settings."""

from __future__ import annotations

from typing import Final

from fleetcast.model.limits.units import KIB

# Regions and goals (defaults of settings)
KV_POLL_INTERVAL_S: Final = 10
REGION_REPORT_INTERVAL_S: Final = 5
AGENT_REPORT_INTERVAL_S: Final = 15
REPLICATION_CHECK_INTERVAL_S: Final = 5
REPLICATION_RECHECK_INTERVAL_S: Final = 60
"""How often a COMPLETE copy is looked at again."""
REPLICATION_TURN_S_MAX: Final = 15
"""How long a look into all buckets may take where some do not answer, before control counts as having been stopped."""
REPLICATION_LOOKS_MAX: Final = 4
"""Questions to one bucket in flight at a time."""
GOAL_LIFETIME_S: Final = 24 * 3600
ROLLOUT_INTERVAL_S: Final = 1
"""How often the controller looks without being woken."""
ROLLOUT_LEASE_S: Final = 15
"""How long a controller's claim on a deployment lives without renewal: another goes on after that."""
DISTRIBUTE_S_MAX: Final = 30 * 60
REPLICATE_S_MAX: Final = 30 * 60
BAKE_S_MAX: Final = 24 * 3600
"""Of one stage."""
ENVIRONMENTS_MAX: Final = 20
"""Of one service, its own apart."""
OVERRIDE_REASON_CHARS_MAX: Final = 500
"""Of why a deployment may come although what its environment requires does not hold."""
PROMOTED_COMMITS_MAX: Final = 50
"""Commits between two releases that are shown."""
PROMOTED_COMMITS_LOOKED_MAX: Final = 1000
"""Of a repository that is elsewhere: how far back its commits are fetched to find those between two releases."""
STAGES_MAX: Final = 20
STAGE_NAME_CHARS_MAX: Final = 63
PLAN_REGIONS_MAX: Final = 100
"""That a plan names, or takes together."""
STAGE_WAVES_MAX: Final = 20
"""Of a stage that goes by region; where regions are more, it takes more of them together. Each is a write of the goal."""
WAVE_S_USUAL: Final = 60
"""How long a wave after the first is expected to take, its bake apart, where no deployment has shown it."""
FIRST_WAVE_S_USUAL: Final = 15 * 60
"""The same for the first, in which machines fetch."""
OBSTACLE_CHARS_MAX: Final = 300
"""Of what keeps a deployment from going on, as people are told it."""
PAUSE_S_MAX: Final = 24 * 3600
"""A deployment that was paused for so long is FAILED: machines keep what they run."""
FLAPS_MAX: Final = 3
"""A machine whose new release died so often in a row has failed it, although its health check passed once."""
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
GOAL_POLLS_MAX: Final = 20_000
"""Agents' questions for goals that one region process holds at a time; whoever comes beyond asks at its reports' pace."""
MACHINE_SILENCE_S_MAX: Final = 60
"""After this without a report a region no longer counts a machine as reporting."""
PERMIT_LIFETIME_S: Final = 300
PERMIT_ASKS_PER_S: Final = 200
"""Machines of one service that wait for a permit ask a region so often, all together; few of them every other second."""
MIRROR_SNAPSHOT_INTERVAL_S: Final = 600
"""How often a region reads all of the global KV instead of what changed."""
COPIES_AT_ONCE_MAX: Final = 4
COPY_STALL_S_MAX: Final = 15
"""A source that sends nothing for so long ends the attempt."""
COPY_BACKOFF_S_MAX: Final = 60
"""Between two attempts at a copy that fails, also one that has FAILED."""
COPY_FAILING_S_MAX: Final = 600
"""A copy whose attempts failed for so long, without a byte of progress in between, has FAILED (default of a setting)."""
COPY_DEMANDS_MAX: Final = 100
"""Copies of one region that people want attempted at once, told in one answer to it."""
COPY_DEMAND_S_MAX: Final = 600
"""What a region could not be told for so long is dropped: it looks at everything itself when it is back."""
REGION_SILENCE_S_MAX: Final = 300
"""A region that says nothing for so long is drained until it has caught up (default of a setting)."""
COPY_PARTS_AT_ONCE_MAX: Final = 4
"""Parts of one copy under way."""
COPY_LANES_MAX: Final = 8
"""Parts of all copies of a region under way, each with a connection and a buffer of its own."""
COPY_SLICE_BYTES: Final = 64 * KIB
"""What a region with a limit on its copies reads at a time."""
COPY_BASES_MAX: Final = 3
"""Older artifacts of the service whose chunks a copy takes from the bucket itself."""
COPY_BASES_LOOKED_MAX: Final = 8
"""Older artifacts that are looked for in the bucket for that."""
COPY_JOIN_BYTES: Final = 256 * KIB
"""Less than this of what the bucket has, between two stretches that it has not, travels along with them in one request."""
REGION_MACHINES_MAX: Final = 50_000
MACHINE_FORGOTTEN_S: Final = 24 * 3600
"""A region drops a machine that was silent for so long."""
RETIRED_TOLD_MAX: Final = 1000
"""Machines retired within that time that control names to their region, newest first; the others it drops by itself."""
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
REGION_PAST_RELEASES_MAX: Final = 10
"""Releases of a service that succeeded, which a region remembers to go back to without control."""
REGION_ROLLBACKS_MAX: Final = 500
"""That stand at a time in one region."""
REGION_ROLLBACKS_LISTED_MAX: Final = 100
"""The newest of a service, or those that stand, which people are shown."""
REGION_ROLLBACK_CHARS_MAX: Final = 200
"""Of who made it, of why, and of the release asked for."""
REGION_GOAL_LOOK_S: Final = 60
"""How often a region looks whether a goal of its own is to be renewed."""
TOMBSTONE_S: Final = 30 * 24 * 3600
"""How long the tombstone of a removed service is renewed. A machine that is away for longer keeps what it runs."""
NEAR_NAMES_MAX: Final = 5
"""Names that an error suggests in place of an unknown one."""
NEAR_CANDIDATES_MAX: Final = 500
"""Names of a kind that are looked at for that."""
