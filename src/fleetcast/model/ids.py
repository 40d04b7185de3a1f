"""Names and identifiers: what is a legal one, and how a person's text becomes one.

Identifiers are plain strings at run time (``NewType``), so that they cost nothing in messages and tables; the functions
here are the only way text from outside turns into one.
"""

from __future__ import annotations

import re
from typing import NewType

from fleetcast.model.errors import Invalid

ServiceName = NewType("ServiceName", str)
RegionName = NewType("RegionName", str)
MachineId = NewType("MachineId", str)
CommitSha = NewType("CommitSha", str)
"""A full git object name: 40 (SHA-1) or 64 (SHA-256) lower-case hex digits."""
Digest = NewType("Digest", str)
"""A SHA-256 as 64 lower-case hex digits."""
ArtifactName = NewType("ArtifactName", str)
"""``<service>/<commit>`` for people, ``<service>/<commit>.2`` for the first rebuild."""
BuildId = NewType("BuildId", int)
DeploymentId = NewType("DeploymentId", str)
Token = NewType("Token", str)
"""Fencing token: minted by a claim, named by every write that follows from it (law 1)."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _name(kind: str, text: str) -> str:
    if not _NAME.fullmatch(text):
        raise Invalid(
            "illegal_name",
            f"{kind} {text!r} is not a legal name: use 1 to 63 of a-z, 0-9 and '-', neither first nor last a '-'",
        )
    return text


def service_name(text: str) -> ServiceName:
    """Raises :class:`Invalid` unless ``text`` is a DNS label."""
    return ServiceName(_name("service", text))


def region_name(text: str) -> RegionName:
    """Raises :class:`Invalid` unless ``text`` is a DNS label."""
    return RegionName(_name("region", text))


def machine_id(text: str) -> MachineId:
    """Raises :class:`Invalid` unless ``text`` is a DNS label."""
    return MachineId(_name("machine", text))


def commit_sha(text: str) -> CommitSha:
    """Raises :class:`Invalid` unless ``text`` is a full, lower-case git object name."""
    if not _SHA.fullmatch(text):
        raise Invalid("illegal_sha", f"{text!r} is not a full commit SHA: give all 40 hex digits (git rev-parse <name>)")
    return CommitSha(text)


def digest(text: str) -> Digest:
    """Raises :class:`Invalid` unless ``text`` is a SHA-256 in lower-case hex."""
    if not _DIGEST.fullmatch(text):
        raise Invalid("illegal_digest", f"{text!r} is not a SHA-256: expected 64 lower-case hex digits")
    return Digest(text)


def build_id(number: int) -> BuildId:
    """Raises :class:`Invalid` for a number that no build can have."""
    if not 0 < number < 2**63:
        raise Invalid("illegal_build", f"{number} is not a build's number")
    return BuildId(number)


def artifact_name(service: ServiceName, commit: CommitSha, build_number: int) -> ArtifactName:
    """The name people use. ``build_number`` starts at 1; only rebuilds carry it."""
    suffix = "" if build_number == 1 else f".{build_number}"
    return ArtifactName(f"{service}/{commit}{suffix}")
