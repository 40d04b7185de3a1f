"""Names and identifiers: what is a legal one, and how a person's text becomes one.

Identifiers are plain strings at run time (``NewType``), so that they cost nothing in messages and tables; the functions
here are the only way text from outside turns into one.
"""

from __future__ import annotations

from typing import Annotated, Final, NewType

from fleetcast.model.errors import Invalid
from fleetcast.model.spelling import INTEGER_MAX, Spelling, stated

NAME: Final = Spelling(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A DNS label."""
SHA: Final = Spelling(r"[0-9a-f]{40}([0-9a-f]{24})?")
DIGEST: Final = Spelling(r"[0-9a-f]{64}")
BUILD: Final = stated(minimum=1, maximum=INTEGER_MAX)

ServiceName = NewType("ServiceName", Annotated[str, NAME.meta])
RegionName = NewType("RegionName", Annotated[str, NAME.meta])
MachineId = NewType("MachineId", Annotated[str, NAME.meta])
CommitSha = NewType("CommitSha", Annotated[str, SHA.meta])
"""A full git object name: 40 (SHA-1) or 64 (SHA-256) lower-case hex digits."""
Digest = NewType("Digest", Annotated[str, DIGEST.meta])
"""A SHA-256 as 64 lower-case hex digits."""
ArtifactName = NewType("ArtifactName", str)
"""``<service>/<commit>`` for people, ``<service>/<commit>.2`` for the first rebuild."""
BuildId = NewType("BuildId", Annotated[int, BUILD])
DeploymentId = NewType("DeploymentId", str)
Token = NewType("Token", str)
"""Fencing token: minted by a claim, named by every write that follows from it (law 1)."""


def _name(kind: str, text: str) -> str:
    if not NAME.fits(text):
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


def environment_name(text: str) -> str:
    """Raises :class:`Invalid` unless ``text`` is a DNS label."""
    return _name("environment", text)


def freeze_name(text: str) -> str:
    """Raises :class:`Invalid` unless ``text`` is a DNS label."""
    return _name("freeze", text)


def commit_sha(text: str) -> CommitSha:
    """Raises :class:`Invalid` unless ``text`` is a full, lower-case git object name."""
    if not SHA.fits(text):
        raise Invalid("illegal_sha", f"{text!r} is not a full commit SHA: give all 40 hex digits (git rev-parse <name>)")
    return CommitSha(text)


def digest(text: str) -> Digest:
    """Raises :class:`Invalid` unless ``text`` is a SHA-256 in lower-case hex."""
    if not DIGEST.fits(text):
        raise Invalid("illegal_digest", f"{text!r} is not a SHA-256: expected 64 lower-case hex digits")
    return Digest(text)


def build_id(number: int) -> BuildId:
    """Raises :class:`Invalid` for a number that no build can have."""
    if not 0 < number <= INTEGER_MAX:
        raise Invalid("illegal_build", f"{number} is not a build's number")
    return BuildId(number)


def artifact_name(service: ServiceName, commit: CommitSha, build_number: int) -> ArtifactName:
    """The name people use. ``build_number`` starts at 1; only rebuilds carry it."""
    suffix = "" if build_number == 1 else f".{build_number}"
    return ArtifactName(f"{service}/{commit}{suffix}")
