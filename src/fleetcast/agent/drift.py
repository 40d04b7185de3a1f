"""Whether what runs on this machine is still what was released: a little of it is looked at, again and again.

A file is read only where the kernel says that somebody has touched it. What was found in order is on record in the release's
``seal``, so that the next agent notices what was changed while none was running. Files that the release does not have are left
alone: programs make some, and they change nothing of it.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from fleetcast.agent import records, switch
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.releases import ReleaseStore
from fleetcast.artifacts.entries import shown
from fleetcast.artifacts.manifest import Manifest
from fleetcast.artifacts.mending import UNKNOWN, damages, mark, mend
from fleetcast.model.errors import FleetcastError
from fleetcast.model.ids import Digest
from fleetcast.model.limits import (
    DRIFT_ENTRIES_MAX,
    DRIFT_ENTRIES_PER_LOOK,
    DRIFT_HASHED_BYTES_PER_LOOK,
    DRIFT_LINES_MAX,
)

log = structlog.get_logger(__name__)


class Sweep:
    """The files of one whole release, looked at in turns. Blocking; one caller at a time."""

    def __init__(self, manifest: Manifest, tree: Path, seal: Path, replaced: Path) -> None:
        """``replaced``: where files go in whose place others are put."""
        self._replaced = replaced
        self._manifest = manifest
        self._tree = tree
        self._seal = seal
        self._marks = _read(seal, len(manifest.entries))
        self._next = 0
        self._judged: dict[int, tuple[int, str]] = {}
        """What is wrong with an entry, and the mark that it had when that was found."""

    @property
    def damaged(self) -> tuple[int, ...]:
        return tuple(sorted(self._judged))

    def lines(self) -> tuple[str, ...]:
        """What is wrong, for people."""
        worst = self.damaged[:DRIFT_LINES_MAX]
        lines = [f"{shown(self._manifest.entries[index].path)} {self._judged[index][1]}" for index in worst]
        more = len(self._judged) - len(worst)
        return (*lines, f"and {more} more") if more else tuple(lines)

    def look(self) -> None:
        """At the next entries, at most ``DRIFT_ENTRIES_PER_LOOK``, and at those that were found damaged."""
        end = min(self._next + DRIFT_ENTRIES_PER_LOOK, len(self._manifest.entries))
        suspects: list[int] = []
        hashed_bytes = 0
        for index in (*self._judged, *range(self._next, end)):
            found = mark(self._manifest, index, self._tree)
            known, _ = self._judged.get(index, (self._marks[index], ""))
            if found == known and (index in self._judged or found != UNKNOWN):
                continue
            suspects.append(index)
            hashed_bytes += self._manifest.entries[index].size
            if hashed_bytes >= DRIFT_HASHED_BYTES_PER_LOOK:
                end = max(index + 1, self._next)
                break
        self._next = 0 if end >= len(self._manifest.entries) else end
        if suspects:
            self._judge(suspects)

    def mend(self, fresh: Path) -> tuple[str, ...]:
        """Put what is damaged back from another whole tree, which is used up by it; what it was, for people."""
        lines = self.lines()
        damaged = self.damaged
        mend(self._manifest, fresh, self._tree, self._replaced, damaged)
        self._judge(damaged)
        return lines

    def _judge(self, suspects: Sequence[int]) -> None:
        # The marks from before the contents are read: a change in between is found by the next look.
        found = {index: mark(self._manifest, index, self._tree) for index in suspects}
        wrong = {damage.index: damage.what for damage in damages(self._manifest, self._tree, suspects)}
        for index in suspects:
            if index in wrong:
                self._judged[index] = found[index], wrong[index]
            else:
                self._judged.pop(index, None)
                self._marks[index] = found[index]
        # Not durable: where it is lost, or half of it is there, everything is read once more.
        records.write_bytes(self._seal, self._marks.tobytes(), durable=False)


class DriftWatch:
    """Looks at the release that is active in one service. :meth:`run` is its loop."""

    def __init__(
        self,
        layout: ServiceLayout,
        store: ReleaseStore,
        active: Callable[[], Digest | None],
        look_s: float,
        changed: Callable[[], None],
    ) -> None:
        """``active``: what to look at, ``None`` while something is being changed; ``changed`` is called when there is news."""
        self._layout = layout
        self._store = store
        self._active = active
        self._look_s = look_s
        self._changed = changed
        self._turn = asyncio.Lock()
        self._digest: Digest | None = None
        self._sweep: Sweep | None = None
        self._astray = ""
        self._wrong: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """What is wrong with what is active, for people: where ``current`` leads, then its files."""
        return (f"{self._astray}, not to what was released", *self._wrong) if self._astray else self._wrong

    async def straighten(self, *, repair: bool) -> str:
        """Look where ``current`` leads; what was put right, for people, empty: nothing.

        To be called only while no change-over is under way, which moves it itself.
        """
        active, pointed = self._active(), switch.pointed(self._layout)
        self._astray = ""
        if active is None or active == pointed or active not in self._store.disk.releases:
            return ""
        where = "nowhere" if pointed is None else f"to release {pointed[:12]}"
        if not repair:
            self._astray = f"current leads {where}"
            return ""
        await asyncio.to_thread(switch.point, self._layout, active)
        log.warning("current_straightened", release=active, led=where)
        return f"current led {where}"

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._look_s)
            before = self.lines
            try:
                async with self._turn:
                    await self._look()
            except (FleetcastError, OSError) as error:
                # To be begun anew with the next look.
                self._digest, self._sweep, self._wrong = None, None, (f"its files cannot be looked at: {error}",)
                log.warning("drift_not_seen", service=str(self._layout.base), error=str(error))
            if self.lines != before:
                log.warning("drift_seen", service=str(self._layout.base), lines=self.lines)
                self._changed()

    def damaged(self, digest: Digest) -> bool:
        """Whether files of that release are to be put right."""
        return self._digest == digest and self._sweep is not None and bool(self._sweep.damaged)

    async def mend(self, digest: Digest, fresh: Path) -> tuple[str, ...]:
        """Put files of that release right from another whole copy, which is used up; what was wrong, for people."""
        async with self._turn:
            if self._sweep is None or self._digest != digest:
                return ()
            mended = await asyncio.to_thread(self._sweep.mend, fresh)
            self._wrong = self._sweep.lines()
            return mended

    async def _look(self) -> None:
        digest = self._active()
        if digest is None:
            return
        if digest != self._digest:
            self._digest, self._sweep, self._wrong = digest, None, ()
            self._sweep = await asyncio.to_thread(self._begin, digest)
        if self._sweep is not None:
            await asyncio.to_thread(self._sweep.look)
            self._wrong = self._sweep.lines()

    def _begin(self, digest: Digest) -> Sweep | None:
        manifest = self._store.manifest(digest)
        if len(manifest.entries) > DRIFT_ENTRIES_MAX:
            return None
        return Sweep(manifest, self._layout.tree(digest), self._layout.seal(digest), self._layout.log / "replaced")


def _read(seal: Path, entries: int) -> array[int]:
    marks = array("Q")
    try:
        marks.frombytes(seal.read_bytes())
    except (OSError, ValueError):
        marks = array("Q")
    return marks if len(marks) == entries else array("Q", [UNKNOWN]) * entries
