"""One row a region: how far copy and machines are, where bytes come from, how fast, and what it waits for (pure)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from fleetcast.cli.picture.columns import Column, Elastic, table
from fleetcast.cli.picture.scene import Flow, Paper, Scene, copy_flow, fetch_flow
from fleetcast.cli.picture.text import Line, Span, Symbols, Tone, amount, cells, clean, clip, clip_line, pad, span_of
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.picture import RegionPicture
from fleetcast.model.replication import ReplicaStatus

BAR_MIN: Final = 6
BAR_MAX: Final = 24
NAME_MAX: Final = 16
WAITS_MIN: Final = 30
"""With less room than this a region says below its row what it waits for."""
LATE_S: Final = 20.0
"""Of a region's last report."""


def region_rows(scene: Scene, paper: Paper, now: float, height: int, room: int = 0) -> list[Line]:
    """At most ``height`` lines, and up to ``room`` more for what regions wait for, where that finds no place beside them.

    Where not all regions fit, those that are not done come first.
    """
    regions = list(scene.detail.regions)
    if not regions or height < 2:
        return []
    more = 0
    if len(regions) > height - 1:
        regions.sort(key=lambda region: (_is_done(scene, region), region.name))
        more = len(regions) - (height - 2)
        regions = regions[: height - 2]
    lines = _table(scene, regions, paper, now)
    if more:
        rest = Span(clip(f"{paper.symbols.more} and {more} more regions", paper.width, paper.symbols.more), Tone.QUIET)
        return [*lines, (rest,)][:height]
    if not _has_room(scene, regions, paper, now):
        lines = _with_waits(scene, regions, lines, paper, now, room)
    return lines


def waits_for(scene: Scene, region: RegionPicture, now: float) -> str:
    """What keeps a region from being done, or that it is not heard of."""
    if scene.detail.deployment.state.ended:
        return ""
    age = region.last_report_age_s
    if age is not None and (age := age + max(0.0, now - scene.heard_at)) > LATE_S:
        return f"its next report: the last one came {span_of(age)} ago"
    return clean(region.waiting_for)


def _table(scene: Scene, regions: Sequence[RegionPicture], paper: Paper, now: float) -> list[Line]:
    columns, bar_at = _columns(scene, regions, now)
    width = paper.width
    waits = [waits_for(scene, region, now) for region in regions]
    beside = _has_room(scene, regions, paper, now) and any(waits)
    if beside:
        width -= 2 + max(WAITS_MIN, min(max(cells(text) for text in waits), width - _full_width(columns) - 2))
    bar = Elastic("", _bar_of(scene, regions, now, paper.symbols), bar_at, BAR_MIN, BAR_MAX, rank=4)
    lines = table(columns, None if scene.detail.deployment.state.ended else bar, len(regions), width, paper.symbols.more)
    if not beside:
        return lines
    texts = ["WAITS FOR", *waits]
    used = max(cells("".join(span.text for span in line)) for line in lines)
    return [
        clip_line((*_padded(line, used), Span("  "), Span(text, Tone.QUIET)), paper.width, paper.symbols.more)
        for line, text in zip(lines, texts, strict=True)
    ]


def _padded(line: Line, width: int) -> Line:
    return (*line, Span(pad("", width - cells("".join(span.text for span in line)))))


def _has_room(scene: Scene, regions: Sequence[RegionPicture], paper: Paper, now: float) -> bool:
    """For what they wait for, beside everything else."""
    columns, _ = _columns(scene, regions, now)
    return paper.width - _full_width(columns) >= 2 + WAITS_MIN


def _full_width(columns: Sequence[Column]) -> int:
    return sum(column.width + 2 for column in columns) + BAR_MIN


def _with_waits(
    scene: Scene, regions: Sequence[RegionPicture], lines: list[Line], paper: Paper, now: float, room: int
) -> list[Line]:
    """With a line below each row whose region waits for something, as far as there is room."""
    found = [lines[0]]
    for region, line in zip(regions, lines[1:], strict=True):
        found.append(line)
        text = waits_for(scene, region, now)
        if text and room > 0:
            room -= 1
            found.append((Span(clip(f"  waits for {text}", paper.width, paper.symbols.more), Tone.QUIET),))
    return found


def _columns(scene: Scene, regions: Sequence[RegionPicture], now: float) -> tuple[list[Column], int]:
    """Those that say most in this state; and where the bar goes."""
    replicating = scene.detail.deployment.state is DeploymentState.REPLICATING
    return (_copy_columns if replicating else _machine_columns)(scene, regions, now)


def _copy_columns(scene: Scene, regions: Sequence[RegionPicture], now: float) -> tuple[list[Column], int]:
    """While buckets are filled."""
    flows = [copy_flow(scene, region, now) for region in regions]
    columns = [
        _names(regions),
        Column("COPY", [_percent(flow) for flow in flows], tones=[_copy_tone(region) for region in regions]),
        Column("COPIED", [amount(flow.done) for flow in flows], rank=2),
        Column("OF", [amount(flow.total) for flow in flows], rank=3),
        *_speed(flows),
    ]
    return columns, 1


def _machine_columns(scene: Scene, regions: Sequence[RegionPicture], now: float) -> tuple[list[Column], int]:
    """While machines fetch and switch, and afterwards."""
    ended = scene.detail.deployment.state.ended
    flows = [fetch_flow(scene, region, now) for region in regions]
    failed = [Tone.BAD if region.failed else Tone.QUIET for region in regions]
    done = [Tone.GOOD if region.active >= region.expected > 0 else Tone.PLAIN for region in regions]
    columns = [
        _names(regions),
        *([] if ended else [Column("COPY", [_percent(copy_flow(scene, region, now)) for region in regions], rank=5)]),
        Column("HAVE IT", [f"{region.fetched}/{region.expected}" for region in regions], rank=1),
        Column("RUN IT", [f"{region.active}/{region.expected}" for region in regions], tones=done),
        Column("FAILED", [str(region.failed) for region in regions], tones=failed),
        Column("ORIGIN", [amount(region.bytes.origin) for region in regions], rank=2),
        Column("PEERS", [amount(region.bytes.peer) for region in regions], rank=2),
        Column("LOCAL", [amount(region.bytes.local) for region in regions], rank=3),
        *([] if ended else _speed(flows)),
    ]
    return columns, 1 if ended else 2


def _names(regions: Sequence[RegionPicture]) -> Column:
    return Column("REGION", [region.name for region in regions], right=False, width_max=NAME_MAX)


def _speed(flows: Sequence[Flow]) -> list[Column]:
    speeds = [f"{amount(round(flow.bytes_per_s))}/s" if flow.bytes_per_s >= 1 else "" for flow in flows]
    lefts = ["" if flow.left_s is None else span_of(flow.left_s) for flow in flows]
    busy = [Tone.BUSY] * len(flows)
    return [Column("RATE", [pad(text, 7, right=True) for text in speeds], 2, tones=busy), Column("LEFT", lefts, 2, tones=busy)]


def _percent(flow: Flow) -> str:
    return "-" if flow.total == 0 else f"{int(flow.share * 100)}%"


def _copy_tone(region: RegionPicture) -> Tone:
    return {ReplicaStatus.COMPLETE: Tone.GOOD, ReplicaStatus.FAILED: Tone.BAD}.get(ReplicaStatus(region.copy), Tone.PLAIN)


def _bar_of(scene: Scene, regions: Sequence[RegionPicture], now: float, symbols: Symbols) -> Callable[[int, int], Line]:
    """Of a bucket: what is there. Of machines: those that run it, and the content that is there beyond them."""
    replicating = scene.detail.deployment.state is DeploymentState.REPLICATING

    def draw(row: int, width: int) -> Line:
        region = regions[row]
        if replicating:
            complete = region.copy == ReplicaStatus.COMPLETE
            return bar(float(complete), copy_flow(scene, region, now).share, width, symbols)
        active = region.active / region.expected if region.expected else 0.0
        return bar(active, fetch_flow(scene, region, now).share, width, symbols)

    return draw


def bar(done: float, there: float, width: int, symbols: Symbols) -> Line:
    """``done`` and ``there`` are shares; full only where nothing is left."""
    solid = int(min(1.0, done) * width)
    shaded = max(0, int(min(1.0, there) * width) - solid)
    rest = width - solid - shaded
    return (
        Span(symbols.done * solid, Tone.GOOD),
        Span(symbols.there * shaded, Tone.BUSY),
        Span(symbols.rest * rest, Tone.QUIET),
    )


def _is_done(scene: Scene, region: RegionPicture) -> bool:
    if scene.detail.deployment.state is DeploymentState.REPLICATING:
        return region.copy == ReplicaStatus.COMPLETE
    return region.active >= region.expected
