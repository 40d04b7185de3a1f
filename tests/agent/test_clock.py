"""What time it is on a machine whose own clock is wrong."""

from __future__ import annotations

import pytest

from fleetcast.agent.clock import RegionClock

NOW_MS = 1_700_000_000_000


class Clocks:
    def __init__(self, off_s: float = 0) -> None:
        self.real_ms = NOW_MS
        self.off_ms = int(off_s * 1000)

    def own(self) -> int:
        return self.real_ms + self.off_ms

    def uptime(self) -> int:
        return self.real_ms - NOW_MS + 5000


JUMPS = [sign * size for size in (3600, 86_400, 10 * 365 * 86_400) for sign in (1, -1)]


@pytest.mark.parametrize("off_s", JUMPS)
def test_once_the_region_was_heard_its_clock_counts(off_s: float) -> None:
    """Nothing is expired that is not, and what expires does so in time, with the region away too."""
    clocks = Clocks(off_s)
    clock = RegionClock(clocks.own, clocks.uptime)
    alarm = clock.heard(NOW_MS)
    assert alarm is not None
    assert "this machine's clock is about" in alarm
    assert clock.now_ms() == NOW_MS
    clocks.real_ms += 86_400_000
    assert clock.now_ms() == NOW_MS + 86_400_000


@pytest.mark.parametrize("jump_s", JUMPS)
def test_a_jump_changes_nothing(jump_s: float) -> None:
    clocks = Clocks()
    clock = RegionClock(clocks.own, clocks.uptime)
    assert clock.heard(NOW_MS) is None
    clocks.off_ms = int(jump_s * 1000)
    assert clock.now_ms() == NOW_MS
    assert clock.heard(NOW_MS) is not None, "and the region's next answer tells of it"


def test_before_it_was_heard_and_from_one_too_old_to_tell() -> None:
    clocks = Clocks(7)
    clock = RegionClock(clocks.own, clocks.uptime)
    assert clock.now_ms() == NOW_MS + 7000
    assert clock.heard(0) is None
    assert clock.now_ms() == NOW_MS + 7000
