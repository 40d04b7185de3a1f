"""The picture of an unfinished deployment, and of several below each other (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fleetcast.cli.output import short, size
from fleetcast.cli.picture.machines import machine_lines
from fleetcast.cli.picture.regions import region_rows
from fleetcast.cli.picture.scene import Flow, Paper, Scene, copy_flow, fetch_flow, together
from fleetcast.cli.picture.text import Line, Span, Tone, cells, clean, clip, clip_line, span_of, wrap
from fleetcast.model.build import Build, BuildStatus
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.replication import ReplicaStatus

REASON_LINES_MAX: Final = 2
LOG_LINES_MAX: Final = 6
STATE_TONES: Final = {
    DeploymentState.SUCCEEDED: Tone.GOOD,
    DeploymentState.FAILED: Tone.BAD,
    DeploymentState.ABORTED: Tone.BAD,
    DeploymentState.ROLLED_BACK: Tone.BAD,
    DeploymentState.SUPERSEDED: Tone.QUIET,
}


def draw(scenes: Sequence[Scene], paper: Paper, now: float) -> list[Line]:
    """All of them, within the paper; each gets its part of the height, and what others leave of theirs."""
    lines: list[Line] = []
    for index, scene in enumerate(scenes):
        apart = 1 if lines else 0
        height = (paper.height - len(lines)) // (len(scenes) - index) - apart
        if height < 1:
            break
        lines += [()] * apart
        lines += draw_one(scene, Paper(paper.width, height, paper.symbols), now)
    return lines


def draw_one(scene: Scene, paper: Paper, now: float) -> list[Line]:
    """Lines of at most ``paper.width`` columns, at most ``paper.height`` of them."""
    state = scene.detail.deployment.state
    lines = [title(scene, paper, now), *_facts(scene, paper, now)]
    if scene.trouble:
        lines.append((Span(clip(clean(scene.trouble), paper.width, paper.symbols.more), Tone.BAD),))
    room = paper.height - len(lines)
    if state is DeploymentState.BUILDING:
        lines += _log(scene, paper, min(room, LOG_LINES_MAX))
    else:
        rows = len(region_rows(scene, paper, now, room))
        machines = [] if state is DeploymentState.REPLICATING else machine_lines(scene.detail.regions, paper, room - rows)
        lines += region_rows(scene, paper, now, room - len(machines), room - rows - len(machines))
        lines += machines
    return lines[: paper.height]


def title(scene: Scene, paper: Paper, now: float) -> Line:
    """What it is, its state, for how long; its id where there is room."""
    deployment = scene.detail.deployment
    line = (
        Span(what_it_is(scene), Tone.TITLE),
        Span("  "),
        Span(deployment.state, STATE_TONES.get(deployment.state, Tone.BUSY)),
        Span(f"  {span_of(scene.age_s(now))}"),
    )
    free = paper.width - sum(cells(span.text) for span in line)
    if free >= cells(deployment.id) + 4:
        return (*line, Span(" " * (free - cells(deployment.id) - 2)), Span(f"[{deployment.id}]", Tone.QUIET))
    return clip_line(line, paper.width, paper.symbols.more)


def what_it_is(scene: Scene) -> str:
    """``B  deploy web@7e583c86d2de``."""
    deployment = scene.detail.deployment
    label = f"{scene.label}  " if scene.label not in ("", deployment.kind) else ""
    return f"{label}{deployment.kind} {deployment.service}@{short(deployment.commit_sha)}"


def _facts(scene: Scene, paper: Paper, now: float) -> list[Line]:
    deployment = scene.detail.deployment
    texts: list[str] = []
    if deployment.state is DeploymentState.BUILDING and scene.detail.build is not None:
        texts.append(_build(scene.detail.build, scene.detail.builds_ahead))
    elif deployment.state is DeploymentState.REPLICATING and scene.detail.regions:
        texts.append(_copies(scene, now))
    elif deployment.state is DeploymentState.DISTRIBUTING and deployment.progress.total:
        texts.append(_machines(scene, now))
    if deployment.reason and not _is_said(scene):
        texts += wrap(clean(deployment.reason), paper.width, paper.symbols.more)[:REASON_LINES_MAX]
    return [(Span(clip(text, paper.width, paper.symbols.more)),) for text in texts]


def _is_said(scene: Scene) -> bool:
    """The reason says what the build or the regions' rows say, in other words."""
    detail = scene.detail
    if detail.deployment.state is DeploymentState.BUILDING:
        return detail.build is not None and detail.build.status is not BuildStatus.FAILED
    if detail.deployment.state is DeploymentState.REPLICATING:
        return bool(detail.regions)
    return any(f"{region.name}:" in detail.deployment.reason for region in detail.regions)


def _build(build: Build, ahead: int) -> str:
    if build.status is BuildStatus.RUNNING:
        return f"build {build.id}, attempt {build.attempt}, on {clean(build.worker)}"
    if build.status is BuildStatus.QUEUED:
        again = f"; it went back there: {clean(build.reason)}" if build.reason else ""
        return f"build {build.id} is in the queue, {ahead or 'none'} before it{again}"
    return f"build {build.id} is done" if build.status is BuildStatus.SUCCEEDED else f"build {build.id} failed"


def _copies(scene: Scene, now: float) -> str:
    regions = scene.detail.regions
    complete = sum(region.copy == ReplicaStatus.COMPLETE for region in regions)
    every = together([copy_flow(scene, region, now) for region in regions])
    return f"{complete} of {len(regions)} regions have a copy{_pace(every)}"


def _machines(scene: Scene, now: float) -> str:
    progress = scene.detail.deployment.progress
    every = together([fetch_flow(scene, region, now) for region in scene.detail.regions])
    failed = f", {progress.failed} failed" if progress.failed else ""
    return f"{progress.fetched} of {progress.total} machines have it, {progress.active} run it{failed}{_pace(every)}"


def _pace(every: Flow) -> str:
    if every.bytes_per_s < 1:
        return ""
    left = f", {span_of(every.left_s)} left" if every.left_s is not None else ""
    return f"; {size(round(every.bytes_per_s))}/s{left}"


def _log(scene: Scene, paper: Paper, room: int) -> list[Line]:
    """The newest lines of somebody else's program."""
    lines = [line for line in map(clean, scene.log) if line]
    shown = lines[-room:] if room > 0 else []
    gutter = f"  {paper.symbols.gutter} "
    return [clip_line((Span(gutter, Tone.QUIET), Span(line, Tone.QUIET)), paper.width, paper.symbols.more) for line in shown]
