"""Reading one artifact out of a store by grants, from its first byte to its last, verified on the way.

As the copier it trusts nothing but the root it is given: the manifest is believed for its digest, the content for the BLAKE3
of every chunk. For one thread; the memory it takes is one window and the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

from blake3 import blake3

from fleetcast.artifacts.manifest import Manifest
from fleetcast.artifacts.signing import verified_manifest
from fleetcast.model.artifact import Root
from fleetcast.model.errors import Corrupt, Forbidden, Invalid
from fleetcast.model.limits import BLOB_PART_BYTES, COPY_STALL_S_MAX
from fleetcast.model.messages.grants import Grant
from fleetcast.model.messages.regions import SourceGrants
from fleetcast.stores.transfer import GrantConnection


class Window(NamedTuple):
    """A stretch of content made of whole chunks; ``data`` is good until the next one is read."""

    offset: int
    data: memoryview
    bad_chunks: tuple[int, ...]
    """Indices of those that are not what was built."""


class ArtifactReader:
    """Raises :class:`Unavailable` when the store cannot be reached or breaks off, :class:`NotFound` when it has lost a blob,
    :class:`Corrupt` when what it has is not what was built."""

    def __init__(self, root: Root, grants: Callable[[], SourceGrants]) -> None:
        """``grants`` is asked at the beginning and whenever those it gave have expired."""
        self._root = root
        self._ask = grants
        self._grants = grants()
        self._connection = GrantConnection(timeout_s=COPY_STALL_S_MAX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()

    def manifest(self) -> Manifest:
        """The artifact's manifest, verified."""
        encoded = bytearray(self._root.manifest_size)
        self._read(lambda grants: grants.manifest, 0, memoryview(encoded))
        return verified_manifest(self._root, bytes(encoded))

    def content(self, manifest: Manifest) -> Iterator[memoryview]:
        """The content in order, verified, in stretches of up to ``BLOB_PART_BYTES``; each is good until the next."""
        for window in self.windows(manifest):
            if window.bad_chunks:
                raise Corrupt("corrupt_source", f"chunk {window.bad_chunks[0]} of the main store's copy is not what was built")
            yield window.data

    def windows(self, manifest: Manifest) -> Iterator[Window]:
        """The content in order, with what is wrong with it."""
        buffer = memoryview(bytearray(min(BLOB_PART_BYTES, manifest.content_size)))
        offsets = manifest.chunk_offsets()
        first = 0
        while first < manifest.chunks:
            end = first + 1
            while end < manifest.chunks and offsets[end + 1] - offsets[first] <= len(buffer):
                end += 1
            start = offsets[first]
            data = buffer[: offsets[end] - start]
            self._read(lambda grants: grants.content, start, data)
            bad = tuple(
                index
                for index in range(first, end)
                if blake3(data[offsets[index] - start : offsets[index + 1] - start]).digest() != manifest.chunk_digest(index)
            )
            yield Window(start, data, bad)
            first = end

    def _read(self, which: Callable[[SourceGrants], Grant], offset: int, into: memoryview) -> None:
        try:
            try:
                self._connection.read_into(which(self._grants), offset, into)
            except Forbidden:
                self._grants = self._ask()
                self._connection.read_into(which(self._grants), offset, into)
        except Invalid as error:
            if error.code != "range_past_end":
                raise
            raise Corrupt("corrupt_source", f"the main store's copy of {self._root.artifact} is too short") from None
