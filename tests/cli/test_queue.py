"""``fleetcast queue``: what it says of a queue."""

from __future__ import annotations

from fleetcast.cli.queue import queue_text
from fleetcast.model.build import Build, BuildStatus
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, ServiceName
from fleetcast.model.messages.queue import QueueStatus, RunningBuild, WaitingBuild


def _build(number: int, status: BuildStatus, lane: str = "ordinary", worker: str = "") -> Build:
    sha = CommitSha(f"{number:040x}")
    return Build(
        BuildId(number), ArtifactName(f"web/{sha}"), ServiceName("web"), sha, status, "", 1, worker, 0, 0, None, "", lane
    )


def _status(*waiting: WaitingBuild, under_way: tuple[RunningBuild, ...] = (), more: int = 0) -> QueueStatus:
    return QueueStatus(
        queued=len(waiting),
        ready=1,
        urgent=sum(one.build.lane == "urgent" for one in waiting),
        running=len(under_way),
        idle=0,
        oldest_wait_s=70,
        oldest_ready_s=70,
        wanted_workers=2,
        why="1 running, 1 could run",
        service_running_max=10,
        waiting=waiting,
        under_way=under_way,
        more=more,
    )


def test_what_waits_comes_first_in_line_then_what_runs() -> None:
    text = queue_text(
        _status(
            WaitingBuild(_build(7, BuildStatus.QUEUED, "urgent"), 1, "worker", "the next free worker", 70, ("production",)),
            WaitingBuild(_build(5, BuildStatus.QUEUED), 2, "backoff", "its next attempt in 9 s", 200, ()),
            under_way=(RunningBuild(_build(4, BuildStatus.RUNNING, worker="w\x1b[2J1"), 30, 2, ("staging",)),),
            more=3,
        )
    )
    lines = text.splitlines()
    assert lines[0] == "2 builds wait, 1 of them urgent; 1 running, 1 could run"
    assert " ".join(lines[2].split()) == "1 7 web@000000000000 urgent 1 min the next free worker production"
    assert " ".join(lines[3].split()) == "2 5 web@000000000000 ordinary 3 min its next attempt in 9 s -"
    assert lines[4].startswith("runs")
    assert "heard of 2 s ago" in lines[4]
    assert "\x1b" not in lines[4]
    assert lines[5] == "and 3 more"


def test_an_empty_queue_is_one_line() -> None:
    assert queue_text(_status()).splitlines() == ["no build waits; 1 running, 1 could run"]
