"""What this region's machines have said of themselves. Soft: after a restart, one report interval rebuilds it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass

from fleetcast.model.errors import Refused
from fleetcast.model.goal import Goal
from fleetcast.model.ids import MachineId, RegionName
from fleetcast.model.limits import MACHINE_FORGOTTEN_S, REGION_MACHINES_MAX
from fleetcast.model.machine import Machine
from fleetcast.model.messages.agents import MachineReport
from fleetcast.model.report import Phase, ServiceReport
from fleetcast.region.rollup import Told


@dataclass(slots=True)
class _Known:
    machine: Machine
    heard_at: float
    """Monotonic seconds; of the last report, or of the claim before the first."""
    services: dict[tuple[str, str], ServiceReport]
    """By environment and service."""
    alarms: tuple[str, ...] = ()
    reported: bool = False


class MachineBook:
    """The machines of one region. All times are monotonic seconds."""

    def __init__(self, region: RegionName, silence_s_max: float) -> None:
        self._region = region
        self._silence_s_max = silence_s_max
        self._known: dict[MachineId, _Known] = {}
        self._down: dict[tuple[str, str], set[MachineId]] = {}

    def claim(self, machine: Machine, now: float) -> None:
        """An agent that was let in says who and where it is; from now on only such reports are taken under its id.

        Raises:
            Refused: a machine of another region, or too many machines.
        """
        self._admit(machine)
        known = self._known.get(machine.id)
        if known is None:
            self._known[machine.id] = _Known(machine, now, {})
        else:
            known.machine = machine

    def heard(self, report: MachineReport, now: float) -> None:
        """Take a report in place of the machine's last one.

        Raises:
            Refused: as :meth:`claim`, or another machine uses this id.
        """
        machine = report.machine
        self._admit(machine)
        known = self._known.get(machine.id)
        if known is None:
            known = self._known[machine.id] = _Known(machine, now, {})
        elif known.machine != machine:
            raise Refused(
                "machine_id_taken",
                f"the id {machine.id} is in use by a machine with other zone, rack or labels: give each machine its own id",
            )
        known.reported = True
        known.heard_at = now
        known.alarms = report.alarms
        self._note_services(known, report.services)

    def down(self, environment: str, service: str) -> Set[MachineId]:
        """Machines that last reported this service as not serving, silent ones included: they may well still be down."""
        return self._down.get((environment, service), frozenset())

    def reporting(self, now: float) -> tuple[Machine, ...]:
        """Machines with a report that is not too old, by id."""
        heard = [known.machine for known in self._known.values() if known.reported and not self._silent(known, now)]
        return tuple(sorted(heard, key=lambda machine: machine.id))

    def told(self, goal: Goal, now: float) -> Iterator[Told]:
        """What each machine that ``goal`` selects last said about it."""
        key = goal.environment, goal.service
        for known in self._known.values():
            if goal.selects(known.machine):
                report = None if self._silent(known, now) else known.services.get(key)
                yield Told(known.machine, report, max(0, int((now - known.heard_at) * 1000)))

    def alarms(self, now: float) -> Iterator[str]:
        """Alarms of the machines that report, each with the machine's name."""
        for known in self._known.values():
            if known.alarms and not self._silent(known, now):
                yield from (f"{known.machine.id}: {alarm}" for alarm in known.alarms)

    def forget_silent(self, now: float) -> None:
        """Drop machines that were silent for ``MACHINE_FORGOTTEN_S``."""
        for known in [known for known in self._known.values() if now - known.heard_at > MACHINE_FORGOTTEN_S]:
            self._note_services(known, ())
            del self._known[known.machine.id]

    def _admit(self, machine: Machine) -> None:
        if machine.region != self._region:
            raise Refused(
                "wrong_region",
                f"machine {machine.id} says it is in {machine.region}, this is {self._region}: correct its settings",
            )
        if machine.id not in self._known and len(self._known) >= REGION_MACHINES_MAX:
            raise Refused("too_many_machines", f"this region knows {REGION_MACHINES_MAX} machines already: add a region")

    def _note_services(self, known: _Known, reports: tuple[ServiceReport, ...]) -> None:
        for key in known.services:
            if known.machine.id in (down := self._down.get(key, set())):
                down.remove(known.machine.id)
                if not down:
                    del self._down[key]
        known.services = {(report.environment, report.service): report for report in reports}
        for key, report in known.services.items():
            if report.running is None or report.phase is Phase.ACTIVATING:
                self._down.setdefault(key, set()).add(known.machine.id)

    def _silent(self, known: _Known, now: float) -> bool:
        return now - known.heard_at > self._silence_s_max
