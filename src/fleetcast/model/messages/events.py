"""People to control: what happened."""

from __future__ import annotations

from dataclasses import dataclass

from fleetcast.model.event import Event
from fleetcast.model.protocol import PROTOCOL, Protocol


@dataclass(frozen=True, slots=True)
class EventPage:
    """``GET /v1/events?after=&limit=&service=``: oldest first.

    ``next`` is given always: who asks again from there misses nothing and reads nothing twice.
    """

    items: tuple[Event, ...]
    next: str
    protocol: Protocol = PROTOCOL
