"""An artifact that no region has, then the next one of the service: how long and how much, engine by engine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.delta.edits import edits
from bench.replicate.a_company import Artifact, Company, company, stores
from bench.replicate.asked import Asked
from bench.swarm.place import place, warm_cache
from fleetcast.model.limits import BLOB_PART_BYTES
from lab.errors import LabError
from lab.payload import Payload
from lab.traffic import Entered, Traffic

COPIES: Final = 4
"""Besides two a region and one that is copied plainly: the worker's output, the main store's two, and what is in passing."""
PLAIN_S_MAX: Final = 900.0
TARGET: Final = 0.03
"""Of the first artifact's bytes, that may leave the main store for the second."""
MIB: Final = 1 << 20
_PLAIN_KEY: Final = "plain/content"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Copied:
    """By all regions."""

    seconds: float
    bytes: int
    """That left the main store for them."""


def measure(asked: Asked, say: Say) -> dict[str, Any]:
    """The result as JSON has it. Raises :class:`LabError`."""
    result: dict[str, Any] = {"regions": asked.regions, "target": TARGET}
    for engine in asked.sizes:
        size_bytes = asked.size_bytes(engine)
        with place(size_bytes * (3 * asked.regions + COPIES), asked.directory) as directory:
            names = [f"region-{number}" for number in range(1, asked.regions + 1)]
            # Servers keep what they have where the file system has extended attributes: memory has none.
            with stores(engine, names, asked.directory) as opened, company(directory / "company", names, opened) as founded:
                result[engine] = _measure(engine, size_bytes, founded, say)
    return result


def _measure(engine: str, size_bytes: int, founded: Company, say: Say) -> dict[str, Any]:
    before = Payload(size_bytes, seed=1)
    warm_cache(founded.directory, size_bytes * len(founded.regions))
    first_artifact, first = _publish(founded, before)
    say(f"{engine}: {_line('the first', first, first.bytes)}")
    again_artifact, again = _publish(founded, edits(before)["scattered"].payload)
    say(f"{engine}: {_line('the second', again, first.bytes)}")
    rss_bytes = max(founded.programs[name].peak_rss_bytes() for name in founded.regions)
    plain_s = _plain(founded, again_artifact, founded.regions)
    say(f"{engine}: a plain copy: {plain_s:.1f} s")
    return {
        "size_bytes": size_bytes,
        "content_bytes": [first_artifact.content_bytes, again_artifact.content_bytes],
        "manifest_bytes": [first_artifact.manifest_bytes, again_artifact.manifest_bytes],
        "first_s": round(first.seconds, 2),
        "again_with_delta_s": round(again.seconds, 2),
        "plain_s": round(plain_s, 2),
        "first_over_plain": round(first.seconds / plain_s, 3),
        "bytes_first": first.bytes,
        "bytes_delta": again.bytes,
        "delta_over_first": round(again.bytes / first.bytes, 5),
        "rss_mib": round(rss_bytes / MIB, 1),
    }


def _publish(founded: Company, payload: Payload) -> tuple[Artifact, Copied]:
    with Traffic({name: program.pid for name, program in founded.programs.items()}) as traffic:
        artifact = founded.publish(payload)
    seconds = artifact.completed_at_s - artifact.published_at_s
    return artifact, Copied(seconds, left(traffic.entered(), founded.regions, founded.main_port()))


def left(entered: Sequence[Entered], regions: Sequence[str], main_port: int) -> int:
    """Bytes from the main store to regions. Connections whose owner was not seen in time count: nobody else reads there."""
    return sum(each.bytes for each in entered if each.remote_port == main_port and each.process in ("", *regions))


def _plain(founded: Company, artifact: Artifact, regions: Sequence[str]) -> float:
    """One process a region reads the main store's copy as one stream, all at a time. Returns seconds to the last one's end."""
    grant = founded.main_grant(artifact).url
    jobs: list[dict[str, Any]] = [{"grant": grant, "bytes": artifact.content_bytes} for _ in regions]
    parts = range(1, -(-artifact.content_bytes // BLOB_PART_BYTES) + 1)
    uploads: list[str] = []
    for job, region in zip(jobs, regions, strict=True):
        if founded.stores.regional is None:
            job["file"] = str(founded.directory / "regions" / region / "plain")
            continue
        objects = founded.stores.objects(region)
        uploads.append(objects.begin(_PLAIN_KEY))
        job["parts"] = [objects.part_grant(_PLAIN_KEY, uploads[-1], number, 3600).url for number in parts]
    began = time.monotonic()
    argv = [sys.executable, "-m", "bench.replicate.plain"]
    copying = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in jobs]
    try:
        for process, job in zip(copying, jobs, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps(job))
            process.stdin.close()
        for process in copying:
            if process.wait(PLAIN_S_MAX):
                raise LabError("a plain copy failed: its complaint is above")
        seconds = time.monotonic() - began
    finally:
        for process in copying:
            process.kill()
            process.wait()
    for region, upload in zip(regions, uploads, strict=False):
        founded.stores.objects(region).abort(_PLAIN_KEY, upload)
    return seconds


def _line(what: str, copied: Copied, first_bytes: int) -> str:
    return f"{what}: {copied.seconds:.1f} s, {copied.bytes} bytes left the main store, {copied.bytes / first_bytes:.4f}"
