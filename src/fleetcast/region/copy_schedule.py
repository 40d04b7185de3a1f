"""Which copies to attempt when, and how far each is. Pure: ``now`` (monotonic seconds) and ``rng`` are arguments.

An attempt at a copy that is complete finds nothing to do: that is how a vanished blob is noticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from fleetcast.model.ids import Digest
from fleetcast.model.limits import COPIES_AT_ONCE_MAX, COPY_BACKOFF_S_MAX, COPY_FAILING_S_MAX
from fleetcast.model.replication import CopyProgress


@dataclass(slots=True)
class _Copy:
    bytes_total: int
    bytes_copied: int = 0
    bytes_most: int = 0
    """Most that an attempt has had since it was complete. Each begins with nothing, and finds again what is there."""
    complete: bool = False
    running: bool = False
    failures: int = 0
    """In a row."""
    error: str = ""
    failing_since: float | None = None
    """When the first attempt failed of those since something was copied."""
    due_at: float = 0.0


class CopySchedule:
    """The copies of one bucket."""

    def __init__(self, recheck_interval_s: float, failing_s_max: float = COPY_FAILING_S_MAX) -> None:
        self._recheck_interval_s = recheck_interval_s
        self._failing_s_max = failing_s_max
        self._copies: dict[Digest, _Copy] = {}

    def want(self, sizes: Mapping[Digest, int]) -> None:
        """These artifacts, with their content's bytes, belong into the bucket; the oldest come first, also in time."""
        for digest in self._copies.keys() - sizes.keys():
            del self._copies[digest]
        for digest, size in sizes.items():
            self._copies.setdefault(digest, _Copy(size))

    def start_due(self, now: float) -> list[Digest]:
        """The attempts to start now; they count as running until they :meth:`finished` or :meth:`failed`."""
        free = COPIES_AT_ONCE_MAX - sum(copy.running for copy in self._copies.values())
        due = [digest for digest, copy in self._copies.items() if not copy.running and copy.due_at <= now]
        due.sort(key=lambda digest: self._copies[digest].complete)  # stable: what is missing before what is looked at again
        started = due[: max(0, free)]
        for digest in started:
            self._copies[digest].running = True
        return started

    def next_due_at(self) -> float | None:
        """When :meth:`start_due` has something again; ``None``: not before another call here."""
        if sum(copy.running for copy in self._copies.values()) >= COPIES_AT_ONCE_MAX:
            return None
        return min((copy.due_at for copy in self._copies.values() if not copy.running), default=None)

    def failures(self, digest: Digest) -> int:
        """Failed attempts in a row."""
        copy = self._copies.get(digest)
        return 0 if copy is None else copy.failures

    def progressed(self, digest: Digest, bytes_copied: int) -> None:
        """An attempt found something missing, and has so many bytes now."""
        copy = self._copies.get(digest)
        if copy is not None:
            if copy.complete:
                copy.bytes_most = 0
            if bytes_copied > copy.bytes_most:  # it gets on again
                copy.error, copy.failures, copy.failing_since, copy.bytes_most = "", 0, None, bytes_copied
            copy.complete = False
            copy.bytes_copied = bytes_copied

    def finished(self, digest: Digest, now: float, rng: Random) -> None:
        """Both blobs are in the bucket."""
        copy = self._copies.get(digest)
        if copy is not None:
            copy.running, copy.complete, copy.failures, copy.error, copy.failing_since = False, True, 0, "", None
            copy.bytes_copied = copy.bytes_total
            copy.due_at = now + self._recheck_interval_s * (0.9 + 0.2 * rng.random())

    def failed(self, digest: Digest, error: str, now: float, rng: Random) -> None:
        """An attempt ended with ``error``; the next follows after a pause that grows."""
        copy = self._copies.get(digest)
        if copy is not None:
            copy.running, copy.failures, copy.error = False, copy.failures + 1, error
            copy.failing_since = now if copy.failing_since is None else copy.failing_since
            pause_s = min(float(COPY_BACKOFF_S_MAX), 0.5 * 2.0 ** min(copy.failures, 16))
            copy.due_at = now + pause_s * (0.5 + 0.5 * rng.random())

    def demanded(self, digest: Digest, now: float) -> None:
        """Somebody wants it attempted now; how long it has failed counts anew. Nothing happens when it is not wanted at all."""
        copy = self._copies.get(digest)
        if copy is not None:
            copy.failures, copy.error, copy.failing_since, copy.due_at = 0, "", None, now

    def is_complete(self, digest: Digest) -> bool:
        """Whether both blobs were in the bucket when it was looked at last."""
        copy = self._copies.get(digest)
        return copy is not None and copy.complete

    def progress(self, now: float) -> tuple[CopyProgress, ...]:
        """What is not complete."""
        return tuple(
            CopyProgress(digest, copy.bytes_copied, copy.bytes_total, copy.error, self._given_up(copy, now))
            for digest, copy in self._copies.items()
            if not copy.complete
        )

    def _given_up(self, copy: _Copy, now: float) -> bool:
        return copy.failing_since is not None and now - copy.failing_since >= self._failing_s_max
