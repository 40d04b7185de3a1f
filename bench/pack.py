"""How fast an output is packed, beside each of its parts alone: ``python -m bench.pack --size 2GiB --json``.

What is measured is what a worker runs: ``pack`` with the sink that uploads, part by part, through granted URLs; the data port
and the bucket behind it are in another process, as they are in control. Every part is on the disk before it is acknowledged
(``fdatasync``), and the blob before its upload is complete. The parts alone, on the same content and block by block:
``reading``, ``chunking`` (the cuts), ``blake3`` (of the chunks), ``sha256``, and ``writing``: the same upload to the same
store, without packing.

The content is in the page cache when it is read, as a build's output is. What the bucket has written is let out of the page
cache at once: a virtual machine gives unused memory back to its host, the first use of a page then costs ten times the
copying, and chance decides how much of that a run meets.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Final

from blake3 import blake3
from pyfastcdc import FastCDC

from bench.machine import machine
from bench.options import telling
from bench.swarm.place import place
from fleetcast.artifacts.packing import pack
from fleetcast.cli.demo.sizes import parse_size
from fleetcast.model.errors import FleetcastError
from fleetcast.model.limits import (
    BLOB_PART_BYTES,
    CHUNK_AVERAGE_BYTES,
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    GIB,
    GRANT_LIFETIME_S,
    MIB,
)
from fleetcast.model.messages.builds import UploadOpened
from fleetcast.model.messages.grants import Grant
from fleetcast.stores.blob_files import BlobFiles
from fleetcast.stores.data_grants import GrantedPart, grant_part
from fleetcast.stores.data_port import DataPort
from fleetcast.stores.transfer import GrantConnection
from fleetcast.stores.upload_files import UploadFiles
from fleetcast.worker.publish import PartUpload
from lab.errors import LabError

RUNS: Final = 3
SOURCE_FILE_BYTES: Final = 256 * MIB
RSS_SIZES: Final = {"rss_mib_at_1gib": 1 * GIB, "rss_mib_at_4gib": 4 * GIB}
FORGET_INTERVAL_S: Final = 0.02
KEY: Final = "bench/content"
_DATA_KEY: Final = b"k" * 32
_SPAWN: Final = multiprocessing.get_context("spawn")

Sink = Callable[[memoryview], None]


def measure(directory: Path, size: int, runs: int, tell: Callable[[str], None]) -> dict[str, object]:
    """Medians in GiB/s over ``runs``, in which the parts and the whole take turns, and peaks of memory in MiB."""
    source = make_source(directory / "source", size)
    rates: dict[str, list[float]] = {}
    for run in range(1, runs + 1):
        for name, seconds in _one_run(directory, source):
            rates.setdefault(name, []).append(size / GIB / seconds)
        tell(f"run {run}: " + ", ".join(f"{name} {values[-1]:.2f}" for name, values in rates.items()) + " GiB/s")
    shutil.rmtree(source)
    rss = {}
    for name, rss_size in RSS_SIZES.items():
        rss[name] = peak_rss_mib(directory, rss_size)
        tell(f"{name}: {rss[name]:.1f}")
    medians = {name: round(statistics.median(values), 3) for name, values in rates.items()}
    whole = medians.pop("whole")
    slowest = min(medians, key=lambda name: medians[name])
    return {
        "command": f"python -m bench.pack --size {size // GIB}GiB",
        "machine": machine(),
        "gib_per_s": whole,
        "slowest_part": {"name": slowest, "gib_per_s": medians[slowest]},
        "over_slowest": round(whole / medians[slowest], 3),
        "parts": medians,
        **rss,
        "spread": {name: [round(min(values), 3), round(max(values), 3)] for name, values in rates.items()},
        "size_bytes": size,
        "runs": runs,
        "source": "in the page cache",
    }


def make_source(directory: Path, size: int) -> Path:
    """A directory of incompressible files, ``size`` bytes in all; they are in the page cache then."""
    directory.mkdir()
    for number, start in enumerate(range(0, size, SOURCE_FILE_BYTES)):
        rng = Random(number)
        left = min(SOURCE_FILE_BYTES, size - start)
        with open(directory / f"{number:04}", "wb") as file:
            while left:
                left -= file.write(rng.randbytes(min(left, MIB)))
            os.fsync(file.fileno())
    return directory


def _one_run(directory: Path, source: Path) -> Iterator[tuple[str, float]]:
    """Seconds that each part takes, and the whole."""
    cutter = FastCDC(CHUNK_AVERAGE_BYTES, min_size=CHUNK_BYTES_MIN, max_size=CHUNK_BYTES_MAX)
    sha256 = hashlib.sha256()
    yield "reading", _seconds(lambda: [None for _ in _blocks(source)])
    yield "chunking", _seconds_of_blocks(source, lambda block: [chunk.length for chunk in cutter.cut_buf(block)])
    yield "blake3", _seconds_of_blocks(source, _hash_chunks)
    yield "sha256", _seconds_of_blocks(source, sha256.update)
    with store(directory / "bucket") as open_upload:
        upload = open_upload()
        yield "writing", _seconds(lambda: upload.run(lambda sink: _feed_blocks(source, sink)))
    with store(directory / "bucket") as open_upload:
        upload = open_upload()
        yield "whole", _seconds(lambda: upload.run(lambda sink: pack(source, sink)))


def peak_rss_mib(directory: Path, size: int) -> float:
    """Of a process that packs and uploads ``size`` bytes and does nothing else."""
    source = make_source(directory / "source", size)
    with store(directory / "bucket") as open_upload:
        reader, writer = _SPAWN.Pipe(duplex=False)
        packing = _SPAWN.Process(target=_pack_and_tell_peak, args=(source, open_upload(), writer))
        packing.start()
        peak_kib = reader.recv()
        packing.join()
    shutil.rmtree(source)
    return float(round(peak_kib / 1024, 1))


def _pack_and_tell_peak(source: Path, upload: Upload, peak: Connection) -> None:
    upload.run(lambda sink: pack(source, sink))
    lines = Path("/proc/self/status").read_text().splitlines()
    peak.send(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")))


@dataclass(frozen=True)
class Upload:
    """An upload that is open, and how its parts get there. Goes to other processes."""

    id: str
    data_url: str
    bucket: Path

    def run(self, feed: Callable[[Sink], object]) -> None:
        """``feed`` gets a sink for the content; the blob is complete and durable when this returns."""
        with GrantConnection() as connection:
            parts = PartUpload(UploadOpened(self.id, BLOB_PART_BYTES), self._grants, connection, threading.Event(), Random(0))
            feed(parts.send)
        UploadFiles(BlobFiles(self.bucket)).complete(KEY, self.id, parts.finished().parts)

    def _grants(self, first: int, count: int) -> Sequence[Grant]:
        expires_at_ms = round((time.time() + GRANT_LIFETIME_S) * 1000)
        numbers = range(first, first + count)
        return [grant_part(self.data_url, _DATA_KEY, GrantedPart(self.id, n, BLOB_PART_BYTES), expires_at_ms) for n in numbers]


@contextmanager
def store(bucket: Path) -> Iterator[Callable[[], Upload]]:
    """A new bucket behind a data port in a process of its own; gives what opens an upload."""
    ours, theirs = _SPAWN.Pipe()
    serving = _SPAWN.Process(target=_serve, args=(bucket, theirs), daemon=True)
    serving.start()
    try:
        data_url = ours.recv()
        yield lambda: Upload(UploadFiles(BlobFiles(bucket)).begin(KEY, BLOB_PART_BYTES), data_url, bucket)
    finally:
        ours.send(None)
        serving.join()
        shutil.rmtree(bucket)


def _serve(bucket: Path, asker: Connection) -> None:
    files = BlobFiles(bucket)
    files.prepare()
    port = DataPort(bucket, _DATA_KEY, "127.0.0.1", 0)
    port.start()
    asker.send(port.url)
    while not asker.poll(FORGET_INTERVAL_S):
        for path in files.uploads.iterdir():
            with suppress(FileNotFoundError):
                _forget(path)
    port.close()


def _forget(path: Path) -> None:
    """Let go of the pages of a file that are on the disk already."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _feed_blocks(source: Path, sink: Sink) -> None:
    """As much as ``source`` has, in equal blocks that are not read from anywhere."""
    block = memoryview(Random(0).randbytes(BLOB_PART_BYTES))
    left = sum(path.stat().st_size for path in source.iterdir())
    while left:
        part = block[: min(left, len(block))]
        sink(part)
        left -= len(part)


def _hash_chunks(block: memoryview) -> None:
    for start in range(0, len(block), CHUNK_AVERAGE_BYTES):
        blake3(block[start : start + CHUNK_AVERAGE_BYTES]).digest()


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _seconds_of_blocks(source: Path, work: Callable[[memoryview], object]) -> float:
    """Spent in ``work``; reading is not counted."""
    return sum(_seconds(partial(work, block)) for block in _blocks(source))


def _blocks(source: Path) -> Iterator[memoryview]:
    """The content in blocks of a part's size, all in the same memory."""
    memory = memoryview(bytearray(BLOB_PART_BYTES))
    for path in sorted(source.iterdir()):
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(memory):
                yield memory[:count]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pack", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=parse_size, default="2GiB", help="of the output; default 2GiB")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"the median of so many is told; default {RUNS}")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="on the disk to measure; default /var/tmp")
    telling(parser)
    asked = parser.parse_args(arguments)
    needed_bytes = 2 * max(asked.size, *RSS_SIZES.values())
    with place(needed_bytes, asked.directory) as directory:
        figures = measure(directory, asked.size, asked.runs, lambda line: print(line, file=sys.stderr, flush=True))
    if asked.save is not None:
        asked.save.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures) if asked.json else "\n".join(f"{name}: {value}" for name, value in figures.items()))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (LabError, FleetcastError) as error:
        sys.exit(f"bench.pack: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
