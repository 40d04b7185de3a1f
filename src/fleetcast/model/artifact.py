"""An artifact as the system speaks of it: the signed root, and the record that regions replicate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetcast.model.goal import ReleaseRef
from fleetcast.model.hooks import Hooks
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, Digest, MachineId, ServiceName
from fleetcast.model.listening import Sockets
from fleetcast.model.probe import Probe


@dataclass(frozen=True, slots=True)
class ManifestPiece:
    """A content-defined piece of the manifest, so that the manifest travels like everything else."""

    length: int
    blake3: str
    """BLAKE3-256, 64 hex digits."""


@dataclass(frozen=True, slots=True)
class Root:
    """The statement a worker signs about an artifact. Everything a machine needs before the manifest.

    ``activate`` and all below it come from the recipe at the commit: what a machine runs is thereby signed.
    """

    artifact: ArtifactName
    service: ServiceName
    commit_sha: CommitSha
    build: BuildId
    attempt: int
    built_at: str
    """RFC 3339, UTC. For people; nothing is decided by it."""
    digest: Digest
    """SHA-256 of the manifest: the artifact's identity."""
    manifest_size: int
    manifest_pieces: tuple[ManifestPiece, ...]
    content_size: int
    """Bytes: the sum of all files' sizes."""
    content_sha256: Digest
    files: int
    chunks: int
    """Entries of the manifest's chunk table, repetitions included."""
    activate: str = ""
    health: str = ""
    health_timeout_s: float = 60.0
    environment: Mapping[str, str] = field(default_factory=dict)
    hooks: Hooks = field(default_factory=dict)
    probe: Probe | None = None
    sockets: Sockets = ()
    user: str = ""
    """Empty: as the agent does."""
    drain_s: float = 0.0
    """0: as long as the agent gives others."""


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """What control writes under ``artifacts/<root digest>`` in the global KV, and each region copies from it."""

    release: ReleaseRef
    envelope: str
    """The DSSE envelope of the root: its JSON text, byte for byte (``release.root`` is the SHA-256 of its UTF-8)."""
    manifest_size: int
    content_size: int


def artifact_record_key(root: Digest) -> str:
    """KV key of an :class:`ArtifactRecord`."""
    return f"artifacts/{root}"


def goal_key(environment: str, service: ServiceName) -> str:
    """KV key of a :class:`~fleetcast.model.goal.Goal`."""
    return f"goals/{environment}/{service}"


def rollback_key(environment: str, service: ServiceName) -> str:
    """Key of a :class:`~fleetcast.model.region_rollback.RegionRollback`, in a regional KV only."""
    return f"rollbacks/{environment}/{service}"


def past_key(environment: str, service: ServiceName) -> str:
    """Key of the releases that succeeded, as a region has seen them: in a regional KV only."""
    return f"past/{environment}/{service}"


def labels_key(machine: MachineId) -> str:
    """KV key of a :class:`~fleetcast.model.machine.GivenLabels`. Not by region: a machine that moves finds its labels there."""
    return f"labels/{machine}"


def regional_manifest_blob(digest: Digest) -> str:
    """Where a regional bucket keeps an artifact's manifest."""
    return f"artifacts/{digest}/manifest"


def regional_content_blob(digest: Digest) -> str:
    """Where a regional bucket keeps an artifact's content."""
    return f"artifacts/{digest}/content"
