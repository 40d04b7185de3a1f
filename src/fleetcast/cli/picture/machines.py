"""What each machine is doing: a grid of names where there is room, a symbol each where there is less, else counts (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fleetcast.cli.picture.scene import Paper
from fleetcast.cli.picture.text import Line, Span, Symbols, Tone, cells, clean, clip, clip_line, names, pad, wrap
from fleetcast.model.picture import RegionPicture
from fleetcast.model.report import MachineProgress, Phase, by_reason

CELL_NAME_MAX: Final = 20
NOTES_MIN: Final = 3
"""Lines that notes may take from the grid."""
NOTE_LINES_MAX: Final = 2
_ORDER: Final[Sequence[Phase | None]] = (
    Phase.ACTIVE,
    Phase.ACTIVATING,
    Phase.FETCHED,
    Phase.FETCHING,
    Phase.FAILED,
    None,
)
_WORDS: Final[Mapping[Phase | None, tuple[str, str]]] = {
    Phase.ACTIVE: ("runs it", "run it"),
    Phase.ACTIVATING: ("switches", "switch"),
    Phase.FETCHED: ("waits", "wait"),
    Phase.FETCHING: ("fetches", "fetch"),
    Phase.FAILED: ("failed", "failed"),
    None: ("not heard yet", "not heard yet"),
}
_WORTH_A_NOTE: Final = (Phase.FAILED, Phase.FETCHED, None)
"""Of the others the symbol says enough."""
_TONES: Final[Mapping[Phase | None, Tone]] = {
    Phase.ACTIVE: Tone.GOOD,
    Phase.ACTIVATING: Tone.BUSY,
    Phase.FETCHED: Tone.BUSY,
    Phase.FETCHING: Tone.BUSY,
    Phase.FAILED: Tone.BAD,
    None: Tone.QUIET,
}


@dataclass(frozen=True, slots=True)
class Note:
    """Machines of which the same is to be said."""

    phase: Phase | None
    text: str
    machines: tuple[str, ...]


def machine_lines(regions: Sequence[RegionPicture], paper: Paper, height: int) -> list[Line]:
    """At most ``height`` lines: the counts, then as much detail as fits, then what those say that failed or wait."""
    regions = [region for region in regions if region.expected]
    if height < 1 or not regions:
        return []
    head = [counts_line(count_phases(regions), paper)]
    notes = [line for note in notes_of(regions) if note.phase is not None for line in note_lines(note, paper)]
    room = height - 1
    kept = min(len(notes), max(NOTES_MIN, room // 3))
    for detail in (_grid(regions, paper), _symbols(regions, paper)):
        if detail and len(detail) + min(kept, room) <= room:
            return [*head, *detail, *notes[: room - len(detail)]]
    return [*head, *notes[:room]]


def count_phases(regions: Sequence[RegionPicture]) -> dict[Phase | None, int]:
    """Expected machines by phase; they add up to all of them, unless more report than are expected."""
    counts: dict[Phase | None, int] = dict.fromkeys(_ORDER, 0)
    for region in regions:
        told = {Phase(name): count for name, count in region.phases.items() if name in Phase.__members__}
        if not told:
            # A region of an older version: what its counts say.
            fetched = max(0, region.fetched - region.active)
            fetching = max(0, region.reporting - region.active - fetched - region.failed)
            told = {
                Phase.ACTIVE: region.active,
                Phase.FETCHED: fetched,
                Phase.FETCHING: fetching,
                Phase.FAILED: region.failed,
            }
        for phase, count in told.items():
            counts[phase] += count
        counts[None] += max(0, region.expected - sum(told.values()))
    return counts


def counts_line(counts: Mapping[Phase | None, int], paper: Paper) -> Line:
    """Legend and counts in one."""
    spans: list[Span] = []
    for phase in _ORDER:
        if count := counts[phase]:
            one, many = _WORDS[phase]
            spans += [Span("  ")] if spans else []
            spans.append(Span(_symbol(phase, paper.symbols), _TONES[phase]))
            spans.append(Span(f" {count} {one if count == 1 else many}", Tone.PLAIN))
    return clip_line(tuple(spans), paper.width, paper.symbols.more)


def notes_of(regions: Sequence[RegionPicture]) -> list[Note]:
    """What machines say that failed or wait, failed ones first; those that say the same together."""
    everybody = [machine for region in regions for machine in region.machines if machine.phase in _WORTH_A_NOTE]
    said = by_reason((each.machine, (each.phase, text)) for each in everybody if (text := clean(each.note)))
    found = [Note(phase, text, tuple(machines)) for (phase, text), machines in said.items()]
    return sorted(found, key=lambda note: (note.phase is not Phase.FAILED, _ORDER.index(note.phase)))


def note_lines(note: Note, paper: Paper) -> list[Line]:
    """A line, or two where that says more."""
    verb = ":" if note.phase is Phase.FAILED else " waits for" if len(note.machines) == 1 else " wait for"
    wrapped = wrap(f"{names(note.machines)}{verb} {note.text}", max(1, paper.width - 2), paper.symbols.more)
    first, *rest = wrapped[:NOTE_LINES_MAX]
    if len(wrapped) > NOTE_LINES_MAX:
        rest[-1] = clip(rest[-1] + " " + wrapped[NOTE_LINES_MAX], paper.width - 2, paper.symbols.more)
    symbol = Span(_symbol(note.phase, paper.symbols), _TONES[note.phase])
    lines = [(symbol, Span(f" {first}")), *((Span(f"  {text}"),) for text in rest)]
    return [clip_line(line, paper.width, paper.symbols.more) for line in lines]


def _grid(regions: Sequence[RegionPicture], paper: Paper) -> list[Line]:
    """Every machine by name; the machines of one region are together."""
    everybody = [machine for region in regions for machine in region.machines]
    if not everybody or not all(_is_whole(region) for region in regions):
        return []
    breadth = min(CELL_NAME_MAX, max(cells(machine.machine) for machine in everybody))
    wide = 2 + breadth + 4
    across = max(1, (paper.width + 3) // (wide + 3))
    lines: list[Line] = []
    for region in regions:
        machines = sorted(region.machines, key=lambda machine: _natural(machine.machine))
        for start in range(0, len(machines), across):
            line: list[Span] = []
            for machine in machines[start : start + across]:
                line += [Span("   ")] if line else []
                line += _cell(machine, breadth, paper.symbols)
            lines.append(clip_line(tuple(line), paper.width, paper.symbols.more))
    return lines


def _is_whole(region: RegionPicture) -> bool:
    """Every machine of it is named."""
    return len(region.machines) >= region.expected


def _cell(machine: MachineProgress, breadth: int, symbols: Symbols) -> Line:
    name = pad(clip(machine.machine, breadth, symbols.more), breadth)
    tone = _TONES[machine.phase]
    return (
        Span(_symbol(machine.phase, symbols), tone),
        Span(f" {name}", tone if machine.phase is Phase.FAILED else Tone.PLAIN),
        Span(pad(_percent(machine), 4, right=True), Tone.BUSY),
    )


def _percent(machine: MachineProgress) -> str:
    if machine.phase is not Phase.FETCHING:
        return ""
    return f"{min(99, machine.bytes.total * 100 // machine.target_bytes)}%" if machine.target_bytes else "0%"


def _symbols(regions: Sequence[RegionPicture], paper: Paper) -> list[Line]:
    """One line a region: one symbol a machine, or counts where not every machine is named."""
    breadth = min(CELL_NAME_MAX, max(cells(region.name) for region in regions))
    lines: list[Line] = []
    for region in regions:
        if _is_whole(region) and len(region.machines) <= paper.width - breadth - 2:
            told = tuple(Span(_symbol(machine.phase, paper.symbols), _TONES[machine.phase]) for machine in region.machines)
        else:
            told = counts_line(count_phases([region]), paper)
        name = Span(pad(clip(region.name, breadth, paper.symbols.more), breadth) + "  ")
        lines.append(clip_line((name, *told), paper.width, paper.symbols.more))
    return lines


def _symbol(phase: Phase | None, symbols: Symbols) -> str:
    return {
        Phase.ACTIVE: symbols.active,
        Phase.ACTIVATING: symbols.switching,
        Phase.FETCHED: symbols.fetched,
        Phase.FETCHING: symbols.fetching,
        Phase.FAILED: symbols.failed,
        None: symbols.unheard,
    }[phase]


def _natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """``eu-10`` after ``eu-9``."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in name.split("-"))
