"""What remains on the screen of a deployment that has ended (pure)."""

from __future__ import annotations

from typing import Final

from fleetcast.cli.output import seconds, size
from fleetcast.cli.picture.layout import STATE_TONES, what_it_is
from fleetcast.cli.picture.machines import Note, notes_of
from fleetcast.cli.picture.regions import region_rows
from fleetcast.cli.picture.scene import Paper, Scene
from fleetcast.cli.picture.text import Line, Span, Tone, amount, clean, clip_line, names, wrap
from fleetcast.model.deployment import Deployment
from fleetcast.model.messages.deployments import DeploymentDetail
from fleetcast.model.report import Phase

_REGIONS_MAX: Final = 20
_NAMES_MAX: Final = 20


def summary(scene: Scene, paper: Paper) -> list[Line]:
    """Lines of at most ``paper.width`` columns: the end and why, times, where the bytes came from, regions, who failed."""
    deployment = scene.detail.deployment
    lines = [
        *_outcome(scene, paper),
        *_indented(_times(deployment), paper),
        *_indented(_bytes(deployment), paper),
        *_regions(scene, paper),
        *_failures(scene.detail, paper),
    ]
    return [clip_line(line, paper.width, paper.symbols.more) for line in lines]


def failure_lines(detail: DeploymentDetail) -> list[str]:
    """Each machine that failed with what it said, those that said the same together."""
    failed = [note for note in notes_of(detail.regions) if note.phase is Phase.FAILED]
    lines = [_failure(note) for note in failed]
    more = detail.deployment.progress.failed - sum(len(note.machines) for note in failed)
    return [*lines, f"and {more} more"] if lines and more > 0 else lines


def reason(detail: DeploymentDetail) -> str:
    """Why it ended as it did; the machines that failed are named in :func:`failure_lines`."""
    deployment = detail.deployment
    counted = f"{deployment.progress.failed} of {deployment.progress.total} machines failed"
    if deployment.reason.startswith(counted) and failure_lines(detail):
        return counted
    return clean(deployment.reason)


def _outcome(scene: Scene, paper: Paper) -> list[Line]:
    deployment = scene.detail.deployment
    what, state = f"{what_it_is(scene)} ", str(deployment.state)
    why = reason(scene.detail)
    after = f" after {scene.detail.age_s:.1f} s" if scene.detail.age_s else ""
    first, *rest = wrap(f"{what}{state}{after}{': ' + why if why else ''}", paper.width, paper.symbols.more)
    if not first.startswith(what + state):
        return [(Span(text, STATE_TONES[deployment.state]),) for text in (first, *rest)]
    head = (Span(what, Tone.TITLE), Span(state, STATE_TONES[deployment.state]), Span(first[len(what + state) :]))
    return [head, *_indented(" ".join(rest), paper)]


def _times(deployment: Deployment) -> str:
    parts = {"build": deployment.build_s, "copy": deployment.replicate_s, "distribute": deployment.distribute_s}
    return "   ".join(f"{name} {seconds(value)}" for name, value in parts.items() if value is not None)


def _bytes(deployment: Deployment) -> str:
    counts, machines = deployment.progress.bytes, deployment.progress.total
    if not deployment.artifact_bytes or not counts.total:
        return ""
    parts = {"origin": counts.origin, "peers": counts.peer, "local": counts.local}
    told = ", ".join(f"{name} {amount(count)}{_share(count, counts.total)}" for name, count in parts.items())
    return f"{size(deployment.artifact_bytes)} x {machines} machines: {told}"


def _share(count: int, total: int) -> str:
    percent = count * 100 / total
    return "" if not count else " (<1%)" if percent < 1 else f" ({percent:.0f}%)"


def _regions(scene: Scene, paper: Paper) -> list[Line]:
    """Where machines had a part in it."""
    if not scene.detail.deployment.progress.reporting:
        return []
    rows = region_rows(scene, Paper(paper.width - 2, paper.height, paper.symbols), scene.heard_at, _REGIONS_MAX)
    return [(Span("  "), *line) for line in rows]


def _failures(detail: DeploymentDetail, paper: Paper) -> list[Line]:
    lines: list[Line] = []
    for text in failure_lines(detail):
        first, *rest = wrap(text, max(1, paper.width - 4), paper.symbols.more)
        lines.append((Span(f"  {paper.symbols.failed} ", Tone.BAD), Span(first)))
        lines += [(Span(f"    {more}"),) for more in rest]
    return lines


def _failure(note: Note) -> str:
    return f"{names(note.machines, _NAMES_MAX)}: {note.text}"


def _indented(text: str, paper: Paper) -> list[Line]:
    return [(Span(f"  {line}"),) for line in wrap(text, max(1, paper.width - 2), paper.symbols.more)] if text else []
