"""Agent to its region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fleetcast.model.goal import Goal
from fleetcast.model.ids import Digest, MachineId
from fleetcast.model.machine import Machine
from fleetcast.model.messages.grants import Grant
from fleetcast.model.permit import PermitDecision, PermitRequest
from fleetcast.model.protocol import PROTOCOL, Protocol
from fleetcast.model.report import ServiceReport

POLLS_FULL: Final = "polls_full"
"""Code of an :class:`~fleetcast.model.errors.Unavailable`: nothing is new, and the region holds as many polls as it may."""


@dataclass(frozen=True, slots=True)
class GoalsRequest:
    """``POST /v1/goals``: long poll. Held up to ``wait_s`` or until this machine's goals differ from ``etag``."""

    machine: Machine
    etag: str
    """Of the last answer; empty: answer at once."""
    wait_s: float
    instance: str = ""
    """Of the agent's process, new at every start; empty: an agent too old to say."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class GoalsReply:
    etag: str
    goals: tuple[Goal, ...] | None
    """All goals that select this machine; ``None``: unchanged."""
    ticket_key: str
    """Hex ed25519 public key with which this region signs swarm tickets."""
    report_interval_s: float
    progress_interval_s: float = 0.0
    """The same while something is fetched, for people who watch; 0: no other than ``report_interval_s``."""
    labels: Mapping[str, str] | None = None
    """Given to this machine by people, all of them; ``None``: nothing is known of any, so that those it has stay."""
    now_ms: int = 0
    """The region's clock when this was sent, UTC; 0: a region too old to say."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class MachineReport:
    """``POST /v1/reports``: at every change, and once a report interval. Repeats everything (law 12)."""

    machine: Machine
    services: tuple[ServiceReport, ...]
    alarms: tuple[str, ...] = ()
    instance: str = ""
    """As in :class:`GoalsRequest`: of two agents with one id, only that one's reports are taken whose polls are."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class MachineReportAccepted:
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class RootReply:
    """``GET /v1/roots/{root digest}``: the signed root, to be checked against digest and worker key by the receiver."""

    envelope: str
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class PermitCall:
    """``POST /v1/permits`` (ask or renew), ``POST /v1/permits/release`` (done with it)."""

    request: PermitRequest
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class PermitReply:
    decision: PermitDecision
    protocol: Protocol = PROTOCOL


# The swarm of one artifact is named by its digest: equal files are one swarm, whatever commit they came from.


@dataclass(frozen=True, slots=True)
class PeerAddress:
    machine: MachineId
    host: str
    port: int
    zone: str = ""
    rack: str = ""


@dataclass(frozen=True, slots=True)
class AnnounceRequest:
    """``POST /v1/swarms/{digest}/announce``: I am here, and how far I am. No bitmaps."""

    peer: PeerAddress
    root: Digest
    """A root of this artifact, for the origin's sizes."""
    complete: bool
    want: int
    """How many peers to be introduced to; 0: none."""
    leaving: bool = False
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class AnnounceReply:
    peers: tuple[PeerAddress, ...]
    ticket: str
    """To show to peers; see ``swarm/tickets.py``."""
    interval_s: float
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """``POST /v1/swarms/{digest}/leases``: pieces to read from the origin. Held up to ``wait_s`` while too many are on lease.

    Pieces are numbered as in ``swarm/pieces.py``: the manifest's first, then the distinct chunks.
    """

    machine: MachineId
    root: Digest
    missing: tuple[tuple[int, int], ...]
    """Half-open ranges ``[first, last)`` that this peer has not and finds at no neighbour."""
    held: tuple[int, ...]
    """Pieces leased to this machine earlier that it now has."""
    returned: tuple[int, ...]
    """Pieces leased to it earlier that it gives up."""
    want: int
    protocol: Protocol = PROTOCOL
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LeaseReply:
    pieces: tuple[int, ...]
    expires_in_s: float
    manifest: Grant | None
    """Read grants on the regional bucket; ``None`` when no piece was leased."""
    content: Grant | None
    retry_after_s: float
    protocol: Protocol = PROTOCOL
