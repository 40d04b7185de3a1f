"""What a worker would say of something that was packed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fleetcast.artifacts.chunking import manifest_pieces
from fleetcast.artifacts.manifest import decode, manifest_digest
from fleetcast.artifacts.packing import Packed
from fleetcast.model.artifact import Root
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, ServiceName


def root_of(packed: Packed, **more: Any) -> Root:
    """As :func:`root_of_manifest`."""
    return root_of_manifest(packed.manifest, packed.files, **more)


def root_of_manifest(encoded: bytes, files: int, **more: Any) -> Root:
    """Of the first build of a commit of ``web``; ``more``: fields that are otherwise."""
    manifest = decode(encoded)
    root = Root(
        artifact=ArtifactName("web/" + "a" * 40),
        service=ServiceName("web"),
        commit_sha=CommitSha("a" * 40),
        build=BuildId(1),
        attempt=1,
        built_at="2026-01-01T00:00:00Z",
        digest=manifest_digest(encoded),
        manifest_size=len(encoded),
        manifest_pieces=manifest_pieces(encoded),
        content_size=manifest.content_size,
        content_sha256=manifest.content_sha256,
        files=files,
        chunks=manifest.chunks,
    )
    return replace(root, **more)
