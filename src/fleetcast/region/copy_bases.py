"""Which older artifacts a copy may take chunks from (pure)."""

from __future__ import annotations

from collections.abc import Iterable

from fleetcast.model.artifact import ArtifactRecord
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import Digest
from fleetcast.model.limits import COPY_BASES_LOOKED_MAX


def bases(release: ReleaseRef, records: Iterable[ArtifactRecord]) -> tuple[Digest, ...]:
    """Other artifacts of the same service, the newest first: what was built last has most of what is built next.

    ``records``: all that the region knows, each artifact's together, the oldest first.
    """
    service = _service(release)
    known = dict.fromkeys(record.release.digest for record in records if _service(record.release) == service)
    known.pop(release.digest, None)
    return tuple(reversed(known))[:COPY_BASES_LOOKED_MAX]


def _service(release: ReleaseRef) -> str:
    return release.artifact.partition("/")[0]
