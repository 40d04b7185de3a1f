"""Tells the region, artifact by artifact, that this machine is in its swarm: one thread for all of them."""

from __future__ import annotations

import threading
import time
from random import Random
from typing import Final, Protocol

import structlog

from fleetcast.model.errors import FleetcastError
from fleetcast.model.ids import Digest
from fleetcast.model.limits import ANNOUNCE_INTERVAL_S, SWARM_CLOSE_S_MAX
from fleetcast.model.messages.agents import AnnounceReply, AnnounceRequest
from fleetcast.swarm.door import RegionDoor

log = structlog.get_logger(__name__)

FIRST_INTERVAL_S: Final = 0.25
"""A swarm that just begins has few members to introduce: ask again soon, then ever later."""


class Member(Protocol):
    """Something that is announced."""

    digest: Digest

    def announcement(self) -> AnnounceRequest: ...

    def announced(self, reply: AnnounceReply) -> None: ...


class _Due:
    def __init__(self, at: float) -> None:
        self.at = at
        self.eager = 0
        """Times in a row that there was reason to ask again soon."""


class Announcer:
    def __init__(self, door: RegionDoor, rng: Random) -> None:
        """``rng`` is this thread's alone."""
        self._door = door
        self._rng = rng
        self._change = threading.Condition()
        self._members: dict[Member, _Due] = {}
        self._leaving: list[tuple[Digest, AnnounceRequest]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="swarm-announcer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, member: Member) -> None:
        """Announce it now, and from now on."""
        with self._change:
            self._members[member] = _Due(time.monotonic())
            self._change.notify_all()

    def remove(self, member: Member) -> None:
        """Announce it no more. Nothing happens when it is gone."""
        with self._change:
            self._members.pop(member, None)

    def leave(self, digest: Digest, farewell: AnnounceRequest) -> None:
        """Tell the region once that this machine has left a swarm; if that fails, it will notice by itself."""
        with self._change:
            self._leaving.append((digest, farewell))
            self._change.notify_all()

    def close(self) -> None:
        """Waits for the call under way."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        self._thread.join(SWARM_CLOSE_S_MAX)

    def _run(self) -> None:
        while True:
            with self._change:
                member = self._wait()
                if self._closing:
                    return
                leaving, self._leaving = self._leaving, []
            for digest, farewell in leaving:
                self._call(digest, farewell)
            if member is not None:
                try:
                    self._announce(member)
                except Exception:
                    log.exception("announce_failed", digest=member.digest)

    def _wait(self) -> Member | None:
        """Until somebody is due, leaves, or the end. Under the lock."""
        while not self._closing and not self._leaving:
            member = min(self._members, key=lambda member: self._members[member].at, default=None)
            pause_s = self._members[member].at - time.monotonic() if member is not None else None
            if pause_s is not None and pause_s <= 0:
                return member
            self._change.wait(pause_s)
        return None

    def _announce(self, member: Member) -> None:
        request = member.announcement()
        reply = self._call(member.digest, request)
        with self._change:
            due = self._members.get(member)
            if due is None:
                return
            again_soon = reply is None or (not request.complete and len(reply.peers) < request.want)
            due.eager = due.eager + 1 if again_soon else 0
            interval_s = reply.interval_s if reply is not None else float(ANNOUNCE_INTERVAL_S)
            if again_soon:
                interval_s = min(interval_s, FIRST_INTERVAL_S * 2.0 ** min(due.eager - 1, 10))
            due.at = time.monotonic() + interval_s * (0.75 + self._rng.random() / 4)
        if reply is not None:
            member.announced(reply)

    def _call(self, digest: Digest, request: AnnounceRequest) -> AnnounceReply | None:
        try:
            return self._door.announce(digest, request)
        except FleetcastError as error:
            log.debug("region_did_not_hear", digest=digest, code=error.code)
            return None
