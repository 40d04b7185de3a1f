"""What the servers that have the repositories are told when they say that something was pushed."""

from __future__ import annotations

from dataclasses import dataclass

from fleetcast.model.ids import ServiceName
from fleetcast.model.protocol import PROTOCOL, Protocol


@dataclass(frozen=True, slots=True)
class HookOutcome:
    """What became of a push for one service."""

    service: ServiceName
    triggered: str
    """``build`` or ``deploy``; empty: nothing."""
    subject: str
    """The number of the build, or the id of the deployment; empty: there is none."""
    said: str
    """The same in a sentence, with the reason where nothing was done."""
    refused: bool = False
    """It may be done when the same is sent again later."""


@dataclass(frozen=True, slots=True)
class HookAnswer:
    """``POST /v1/hooks/github`` and ``POST /v1/hooks/gitlab``: what was done, or why nothing."""

    said: str
    services: tuple[HookOutcome, ...] = ()
    replayed: bool = False
    """The delivery came before: this is the answer that it was given then, and nothing was done now."""
    protocol: Protocol = PROTOCOL
