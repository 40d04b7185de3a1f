"""A machine's disk is full: people are told, the others go on, nothing is corrupt, and it goes on when there is room."""

from __future__ import annotations

from functools import partial

import pytest

from disks import Disk
from running import wait_until
from swarming import DISK_OF, MACHINES, SIZE_BYTES, Swarming

pytestmark = pytest.mark.timeout(240)

PAGE_BYTES = 4096
OTHERS = [name for name in MACHINES if name != DISK_OF]


def test_before_the_release_has_its_place(swarming: Swarming, disk: Disk) -> None:
    artifact = swarming.publish()
    with disk.full(room_bytes=SIZE_BYTES // 2):
        swarming.company.deploy(artifact.release)
        told = f"{DISK_OF}: it cannot fetch"
        wait_until(lambda: told in swarming.company.fleetcast("status"), told)
        assert "no room on this machine's disk" in swarming.company.fleetcast("status")
        swarming.assert_whole(OTHERS, artifact)
        assert not swarming.whole(DISK_OF, artifact)
    swarming.assert_whole([DISK_OF], artifact)


def test_in_the_middle(swarming: Swarming, disk: Disk) -> None:
    """The content has its place by then: whatever it manages without more room, it is whole in the end, and never wrong."""
    artifact = swarming.reach(partial(swarming.in_the_middle, [DISK_OF]), "it is in the middle", among=[DISK_OF])
    with disk.full(room_bytes=2 * PAGE_BYTES):
        assert not swarming.whole(DISK_OF, artifact)
        swarming.assert_whole(OTHERS, artifact)
    swarming.assert_whole([DISK_OF], artifact)
