"""Agents' long polls for goals. One that is held costs a future and a timer; a change wakes those whose goals it changed.

Answers are made once for each place (``goals.py``) and kept, encoded, until the goals change: 20,000 machines that are
labelled alike share one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec
from litestar.types import Receive

from fleetcast.http.holding import held_s
from fleetcast.model.errors import Refused, Unavailable
from fleetcast.model.ids import MachineId
from fleetcast.model.limits import GOAL_POLLS_MAX, GOAL_WAIT_S_MAX, REGION_MACHINES_MAX
from fleetcast.model.machine import Machine
from fleetcast.model.messages.agents import POLLS_FULL, GoalsRequest
from fleetcast.model.protocol import PROTOCOL
from fleetcast.region.goals import HeldGoal, Place, etag_of, place_of, selecting
from fleetcast.region.pace import progress_interval_s

_PROBE_TURNS = 3
"""Turns of the event loop in which a connection that is closed already gets to say so."""


@dataclass(frozen=True, slots=True)
class Answer:
    etag: str
    body: bytes
    """An encoded ``GoalsReply`` with all goals of the place."""


@dataclass(slots=True, eq=False)
class _Held:
    machine: Machine
    etag: str
    receive: Receive
    woken: asyncio.Future[None]

    def wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)


class GoalPolls:
    """All long polls of this process. Used from one event loop."""

    def __init__(
        self, ticket_key: str, report_interval_s: float, now_ms: Callable[[], int], held_max: int = GOAL_POLLS_MAX
    ) -> None:
        """``now_ms``: this host's clock, UTC. ``held_max``: polls held at a time."""
        self._held_max = held_max
        self._now_ms = now_ms
        self._ticket_key = ticket_key
        self._report_interval_s = report_interval_s
        self._goals: tuple[HeldGoal, ...] = ()
        self._given: dict[MachineId, Mapping[str, str]] = {}
        self._answers: dict[Place, Answer] = {}
        self._held: dict[MachineId, _Held] = {}
        self._places: dict[Place, dict[MachineId, _Held]] = {}
        self._closed = False

    @property
    def held(self) -> int:
        """How many polls are being held."""
        return len(self._held)

    def publish(self, goals: Iterable[HeldGoal]) -> None:
        """These are the goals now: answer the polls of machines for which that is news."""
        self._goals = tuple(goals)
        self._answers.clear()
        for place, held in self._places.items():
            etag = self._answer(place, next(iter(held.values())).machine).etag
            for each in held.values():
                if each.etag != etag:
                    each.wake()

    def relabel(self, changed: Mapping[MachineId, Mapping[str, str]]) -> None:
        """These machines have other given labels now: answer their polls."""
        for machine, labels in changed.items():
            if self._given.get(machine) != labels:
                self._given[machine] = labels
                if machine in self._held:
                    self._held[machine].wake()

    async def admit(self, machine: MachineId) -> None:
        """Let an agent poll, unless another agent's poll is held under the same id.

        Admitted race: of two machines with one id, the one that comes between two polls of the other gets in. Whichever
        is out is told so, again and again.

        Raises:
            Refused: another agent uses this id.
        """
        other = self._held.get(machine)
        if other is None:
            return
        if not await _gone(other.receive) and self._held.get(machine) is other:
            raise Refused(
                "machine_id_taken",
                f"another agent is running with the id {machine}: give each machine its own id, then restart",
            )
        other.wake()

    async def poll(self, request: GoalsRequest, receive: Receive) -> bytes:
        """An encoded ``GoalsReply``: at once if the machine's goals differ from ``request.etag``, else as soon as they do,
        or without goals when the wait is over.

        Raises:
            Unavailable: nothing is new, and there are as many polls as may be held.
        """
        place = self._place(request.machine)
        answer = self._answer(place, request.machine)
        wait_s = held_s(request.wait_s, GOAL_WAIT_S_MAX)
        if answer.etag == request.etag and wait_s > 0 and not self._closed:
            self._check_room(request.machine.id)
            await self._hold(place, request, receive, wait_s)
            answer = self._answer(self._place(request.machine), request.machine)
        return self._dated(self._unchanged(answer.etag) if answer.etag == request.etag else answer.body)

    def close(self) -> None:
        """The process stops: answer everybody now, hold nobody from now on."""
        self._closed = True
        for held in self._held.values():
            held.wake()

    def _check_room(self, machine: MachineId) -> None:
        if len(self._held) >= self._held_max and machine not in self._held:
            raise Unavailable(
                POLLS_FULL, f"this region holds {len(self._held)} polls, all it may: ask again after a report interval"
            )

    async def _hold(self, place: Place, request: GoalsRequest, receive: Receive, wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        held = _Held(request.machine, request.etag, receive, loop.create_future())
        machine = request.machine.id
        self._held[machine] = held
        self._places.setdefault(place, {})[machine] = held
        timer = loop.call_later(wait_s, held.wake)
        try:
            await held.woken
        finally:
            timer.cancel()
            if self._held.get(machine) is held:
                del self._held[machine]
            if self._places.get(place, {}).get(machine) is held:
                del self._places[place][machine]
                if not self._places[place]:
                    del self._places[place]

    def _place(self, machine: Machine) -> Place:
        return place_of(machine, self._given.get(machine.id))

    def _answer(self, place: Place, machine: Machine) -> Answer:
        answer = self._answers.get(place)
        if answer is None:
            selected = selecting(self._goals, machine)
            etag = etag_of(selected, place.given)
            goals = [msgspec.Raw(held.encoded) for held in selected]
            labels = None if place.given is None else dict(place.given)
            answer = Answer(etag, msgspec.json.encode({"etag": etag, "goals": goals, "labels": labels, **self._frame()}))
            if len(self._answers) >= REGION_MACHINES_MAX:
                self._answers.clear()
            self._answers[place] = answer
        return answer

    def _frame(self) -> dict[str, object]:
        """What every answer has. The pace is that of the machines that poll right now: their next poll brings another."""
        return {
            "ticket_key": self._ticket_key,
            "report_interval_s": self._report_interval_s,
            "progress_interval_s": progress_interval_s(len(self._held), self._report_interval_s),
            "protocol": PROTOCOL,
        }

    def _dated(self, body: bytes) -> bytes:
        """An encoded answer, which others share, with the time at which this one is sent."""
        return body[:-1] + b',"now_ms":%d}' % self._now_ms()

    def _unchanged(self, etag: str) -> bytes:
        return msgspec.json.encode({"etag": etag, "goals": None, **self._frame()})


async def _gone(receive: Receive) -> bool:
    """Whether the caller of a request, whose body has been read, has closed the connection."""
    event = asyncio.ensure_future(receive())
    for _ in range(_PROBE_TURNS):
        await asyncio.sleep(0)
    if event.done():
        return True
    event.cancel()
    return False
