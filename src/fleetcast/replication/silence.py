"""Which regions say nothing for too long, so that nothing is to wait for them (pure).

Judged by how long a process has seen the same last word of a region, on a clock that never jumps. So neither a jump of the
database's clock makes a region silent, nor the time in which control itself was not there to be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleetcast.model.ids import RegionName


@dataclass(frozen=True, slots=True)
class LastWord:
    """What is written down about one region."""

    region: RegionName
    at_ms: int
    """When it last said something, by the database's clock: only whether that changes counts."""
    drained: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    at_ms: int
    since: float


class SilenceWatch:
    """Of all regions, in one process."""

    def __init__(self, silence_s_max: float, absence_s_max: float) -> None:
        """``absence_s_max``: who looks less often than this was stopped meanwhile, and knows nothing of the time before."""
        self._silence_s_max = silence_s_max
        self._absence_s_max = absence_s_max
        self._seen: dict[RegionName, _Seen] = {}
        self._looked_at = float("-inf")

    def silent(self, words: Sequence[LastWord], now: float) -> frozenset[RegionName]:
        """Those that have said nothing for ``silence_s_max`` while somebody listened. ``now``: monotonic seconds."""
        if now - self._looked_at > self._absence_s_max:
            self._seen.clear()
        self._looked_at = now
        self._seen = {word.region: self._news(word, now) for word in words}
        return frozenset(region for region, seen in self._seen.items() if now - seen.since >= self._silence_s_max)

    def _news(self, word: LastWord, now: float) -> _Seen:
        before = self._seen.get(word.region)
        return before if before is not None and before.at_ms == word.at_ms else _Seen(word.at_ms, now)


def to_drain(words: Sequence[LastWord], silent: frozenset[RegionName]) -> tuple[RegionName, ...]:
    """The silent ones that count, as long as another one that counts is heard of: if none is, it is control that is cut off,
    and to wait for nobody would help nobody."""
    counting = [word.region for word in words if not word.drained]
    if silent.issuperset(counting):
        return ()
    return tuple(region for region in counting if region in silent)
