"""The ``current`` link: from one whole release to another, with nothing in between."""

from __future__ import annotations

import os

from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.records import sync_directory
from fleetcast.model import ids
from fleetcast.model.errors import Invalid, Refused
from fleetcast.model.ids import Digest


def point(layout: ServiceLayout, digest: Digest) -> None:
    """Make ``current`` point to a release's tree, durably.

    Raises:
        Refused: that release is not whole on this disk.
    """
    if not layout.tree(digest).is_dir():
        raise Refused("release_missing", f"release {digest} is not on this machine: fetch it before switching to it")
    following = layout.base / ".current.next"
    following.unlink(missing_ok=True)  # left by an agent killed between the next two lines
    following.symlink_to(os.path.relpath(layout.tree(digest), layout.base))
    following.replace(layout.current)
    sync_directory(layout.base)


def pointed(layout: ServiceLayout) -> Digest | None:
    """The release that ``current`` points to; ``None`` when there is none."""
    try:
        return ids.digest(layout.current.readlink().parent.name)
    except (OSError, Invalid):
        return None
