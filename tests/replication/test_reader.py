"""An artifact read out of a store through a real data port, verified whatever that hands out."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleetcast.artifacts.packing import pack
from fleetcast.model.artifact import Root
from fleetcast.model.errors import Corrupt, NotFound, Unavailable
from fleetcast.model.limits import BLOB_PART_BYTES, MIB
from fleetcast.model.messages.regions import SourceGrants
from fleetcast.replication.reader import ArtifactReader
from fleetcast.stores.blob_files import BlobFiles
from fleetcast.stores.data_grants import grant_read
from fleetcast.stores.data_port import DataPort
from roots import root_of

KEY = b"k" * 32
CONTENT_BYTES = 2 * BLOB_PART_BYTES + 3 * MIB + 7


@dataclass
class Store:
    """A directory behind a data port, with one artifact in it as ``manifest`` and ``content``."""

    blobs: BlobFiles
    port: DataPort
    root: Root
    content: bytes
    lifetimes_s: list[float] = field(default_factory=list)
    """Of the grants to come; 60 when there are no more."""
    asked: int = 0

    def grants(self) -> SourceGrants:
        self.asked += 1
        until = round((time.time() + (self.lifetimes_s.pop(0) if self.lifetimes_s else 60)) * 1000)
        manifest, content = (grant_read(self.port.url, KEY, name, until) for name in ("manifest", "content"))
        return SourceGrants(self.root.digest, manifest, content)

    def read(self) -> bytes:
        with ArtifactReader(self.root, self.grants) as reader:
            return b"".join(map(bytes, reader.content(reader.manifest())))

    def change(self, name: str, change: Callable[[bytes], bytes]) -> None:
        with self.blobs.open(name) as file:
            data = file.read()
        self.blobs.delete(name)
        self.blobs.put(name, change(data))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "file").write_bytes(random.Random(5).randbytes(CONTENT_BYTES))
    received = bytearray()
    packed = pack(tmp_path / "output", received.extend)
    root = root_of(packed)
    directory = tmp_path / "store"
    blobs = BlobFiles(directory)
    blobs.prepare()
    blobs.put("manifest", packed.manifest)
    blobs.put("content", bytes(received))
    port = DataPort(directory, KEY, "127.0.0.1", 0)
    port.start()
    yield Store(blobs, port, root, bytes(received))
    port.close()


def test_what_is_read_is_what_was_packed(store: Store) -> None:
    assert store.read() == store.content
    assert store.asked == 1


def test_grants_that_have_expired_are_asked_for_again(store: Store) -> None:
    store.lifetimes_s = [-5]
    assert store.read() == store.content
    assert store.asked == 2


def test_a_wrong_byte_is_found_and_where(store: Store) -> None:
    at = BLOB_PART_BYTES + 99
    store.change("content", lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(Corrupt, match="is not what was built"):
        store.read()
    with ArtifactReader(store.root, store.grants) as reader:
        manifest = reader.manifest()
        (bad,) = [index for window in reader.windows(manifest) for index in window.bad_chunks]
    offsets = manifest.chunk_offsets()
    assert offsets[bad] <= at < offsets[bad + 1]


def test_a_manifest_that_is_another_is_refused(store: Store) -> None:
    store.change("manifest", lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(Corrupt, match="another digest"):
        store.read()


@pytest.mark.parametrize("name", ["manifest", "content"])
def test_a_blob_that_is_too_short_is_refused(store: Store, name: str) -> None:
    store.change(name, lambda data: data[:-100])
    with pytest.raises(Corrupt, match="too short"):
        store.read()


def test_a_store_that_is_gone_or_has_lost_a_blob(store: Store) -> None:
    store.blobs.delete("content")
    with pytest.raises(NotFound):
        store.read()
    grants = store.grants()
    store.port.close()
    with pytest.raises(Unavailable), ArtifactReader(store.root, lambda: grants) as reader:
        reader.manifest()
