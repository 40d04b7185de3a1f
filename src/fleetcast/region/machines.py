"""What this region's machines have said of themselves. Soft: after a restart, one report interval rebuilds it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from fleetcast.model.errors import Invalid, Refused
from fleetcast.model.goal import Goal
from fleetcast.model.ids import MachineId, RegionName, machine_id
from fleetcast.model.limits import (
    ARTIFACT_CONTENT_BYTES_MAX,
    DRIFT_LINES_MAX,
    FAILURE_LINE_CHARS_MAX,
    FAILURE_LINES_MAX,
    MACHINE_FORGOTTEN_S,
    REGION_MACHINES_MAX,
    REPORTED_LINE_CHARS_MAX,
    REPORTED_LINES_MAX,
    REPORTED_MACHINE_BYTES,
)
from fleetcast.model.machine import Machine
from fleetcast.model.messages.agents import MachineReport
from fleetcast.model.report import MachineAnswer, ServiceReport
from fleetcast.region.places import Spot, Tally
from fleetcast.region.rollup import Told

_NUMBER_MAX: Final = 2**53
"""Of ages and generations; far beyond any real one."""
_NOBODY: Final = Tally()
"""Never added to."""


@dataclass(slots=True)
class _Known:
    machine: Machine
    heard_at: float
    """Monotonic seconds; of the last report, or of the claim before the first."""
    services: dict[tuple[str, str], ServiceReport]
    """By environment and service."""
    alarms: tuple[str, ...] = ()
    reported: bool = False
    given: set[str] = field(default_factory=set)
    """Keys of labels that people gave it since it is known, those taken away again included."""
    instance: str = ""
    """Of the agent that was let in last; empty: not known yet, or too old to say."""


class MachineBook:
    """The machines of one region. All times are monotonic seconds.

    What a machine says goes on to control in one report with what all others say: nothing is taken that control would
    refuse, or that leaves no room for the others.
    """

    def __init__(self, region: RegionName, silence_s_max: float, now: float) -> None:
        self._region = region
        self._silence_s_max = silence_s_max
        self._listening_since = now
        self._listened_at = now
        self._known: dict[MachineId, _Known] = {}
        self._down: dict[tuple[str, str], Tally] = {}
        self._given: dict[MachineId, Mapping[str, str]] = {}

    def relabel(self, changed: Mapping[MachineId, Mapping[str, str]]) -> None:
        """These machines, of whatever region, have other given labels now. Under their keys, and those given before, a machine
        may differ from itself: its report may be older than its claim, or the other way round."""
        for machine, labels in changed.items():
            known = self._known.get(machine)
            if known is not None:
                known.given.update(labels, self._given.get(machine, ()))
            self._given[machine] = labels

    def listen(self, now: float) -> None:
        """Reports are being taken. After a while in which nobody said so this process was stopped, and listens anew."""
        if now - self._listened_at > self._silence_s_max / 2:
            self._listening_since = now
        self._listened_at = now

    def gathering(self, now: float) -> bool:
        """Whether nothing can be said yet of whoever was not heard of: not every machine has had the time to report."""
        return now - self._listening_since <= self._silence_s_max

    @property
    def count(self) -> int:
        """How many are known, silent ones included."""
        return len(self._known)

    def everybody(self, now: float) -> tuple[Machine, ...]:
        """All that are known, silent ones included; none while it is :meth:`gathering`."""
        return () if self.gathering(now) else tuple(known.machine for known in self._known.values())

    def claim(self, machine: Machine, now: float, instance: str = "") -> None:
        """An agent that was let in says who and where it is; from now on only its reports are taken under this id.

        Raises:
            Refused: a machine of another region, or too many machines.
            Invalid: its id is none, or its labels are too long.
        """
        self._admit(machine)
        known = self._known.get(machine.id)
        if known is None:
            self._known[machine.id] = _Known(machine, now, {}, instance=instance)
        else:
            moved = Spot.of(known.machine) != Spot.of(machine)
            known.machine, known.instance = machine, instance
            if moved:
                self._note_services(known, tuple(known.services.values()))

    def heard(self, report: MachineReport, now: float) -> None:
        """Take a report in place of the machine's last one.

        Raises:
            Refused: as :meth:`claim`, or another machine uses this id.
            Invalid: as :meth:`claim`, or a number in it is beyond all bounds.
        """
        self.listen(now)
        machine = report.machine
        self._admit(machine)
        services = tuple(_plausible(service) for service in report.services)
        known = self._known.get(machine.id)
        if known is None:
            known = self._known[machine.id] = _Known(machine, now, {})
        elif known.machine != machine and self._own(known, known.machine) != self._own(known, machine):
            raise Refused(
                "machine_id_taken",
                f"the id {machine.id} is in use by a machine with other zone, rack or labels: give each machine its own id",
            )
        elif report.instance and known.instance and report.instance != known.instance:
            raise Refused(
                "machine_id_taken", f"another agent is running with the id {machine.id}: give each machine its own id"
            )
        known.reported = True
        known.heard_at = now
        known.alarms = tuple(alarm[:REPORTED_LINE_CHARS_MAX] for alarm in report.alarms[:REPORTED_LINES_MAX])
        self._note_services(known, services)

    def answer(self, machine: MachineId, now: float) -> MachineAnswer:
        """What is known of a machine that somebody asked about."""
        known = self._known.get(machine)
        if known is None or not known.reported:
            return MachineAnswer(machine, None)
        services = tuple(known.services[key] for key in sorted(known.services))
        return MachineAnswer(machine, max(0, int((now - known.heard_at) * 1000)), services, known.alarms)

    def down(self, environment: str, service: str) -> Tally:
        """Machines that last reported this service as not serving, silent ones included: they may well still be down."""
        return self._down.get((environment, service), _NOBODY)

    def spot(self, machine: MachineId) -> Spot | None:
        """Where a machine is; ``None``: this region has not heard of it."""
        known = self._known.get(machine)
        return None if known is None else Spot.of(known.machine)

    def reporting(self, now: float) -> tuple[Machine, ...]:
        """Machines with a report that is not too old, by id."""
        heard = [known.machine for known in self._known.values() if known.reported and not self._silent(known, now)]
        return tuple(sorted(heard, key=lambda machine: machine.id))

    def told(self, goal: Goal, now: float) -> Iterator[Told]:
        """What each machine that ``goal`` selects last said about it."""
        key = goal.environment, goal.service
        for known in self._known.values():
            if goal.selects(known.machine):
                silent = self._silent(known, now)
                report = None if silent else known.services.get(key)
                yield Told(known.machine, report, max(0, int((now - known.heard_at) * 1000)), silent)

    def alarms(self, now: float) -> Iterator[str]:
        """Alarms of the machines that report, each with the machine's name."""
        for known in self._known.values():
            if known.alarms and not self._silent(known, now):
                yield from (f"{known.machine.id}: {alarm}" for alarm in known.alarms)

    def forget_silent(self, now: float) -> None:
        """Drop machines that were silent for ``MACHINE_FORGOTTEN_S``."""
        for known in [known for known in self._known.values() if now - known.heard_at > MACHINE_FORGOTTEN_S]:
            self._forget(known)

    def retired(self, machines: Iterable[MachineId], now: float) -> tuple[MachineId, ...]:
        """These are gone, says control: those of them that are silent, which are returned, count no more, nor as down."""
        known = [self._known[machine] for machine in machines if machine in self._known]
        gone = [each for each in known if self._silent(each, now)]
        for each in gone:
            self._forget(each)
        return tuple(each.machine.id for each in gone)

    def _forget(self, known: _Known) -> None:
        self._note_services(known, ())
        del self._known[known.machine.id]

    def _own(self, known: _Known, machine: Machine) -> Machine:
        """Without what people may have given it."""
        given = known.given | self._given.get(machine.id, {}).keys()
        return replace(machine, labels={key: value for key, value in machine.labels.items() if key not in given})

    def _admit(self, machine: Machine) -> None:
        if machine.region != self._region:
            raise Refused(
                "wrong_region",
                f"machine {machine.id} says it is in {machine.region}, this is {self._region}: correct its settings",
            )
        machine_id(machine.id)
        if machine.too_long:
            raise Invalid(
                "machine_too_long",
                f"zone, rack and labels of {machine.id} have more than {REPORTED_MACHINE_BYTES // 2} bytes: shorten them",
            )
        if machine.id not in self._known and len(self._known) >= REGION_MACHINES_MAX:
            raise Refused("too_many_machines", f"this region knows {REGION_MACHINES_MAX} machines already: add a region")

    def _note_services(self, known: _Known, reports: tuple[ServiceReport, ...]) -> None:
        for key in known.services:
            if known.machine.id in (down := self._down.get(key, _NOBODY)):
                down.discard(known.machine.id)
                if not down:
                    del self._down[key]
        known.services = {(report.environment, report.service): report for report in reports}
        for key, report in known.services.items():
            if report.running is None:
                self._down.setdefault(key, Tally()).add(known.machine.id, Spot.of(known.machine))

    def _silent(self, known: _Known, now: float) -> bool:
        return now - known.heard_at > self._silence_s_max


def _plausible(report: ServiceReport) -> ServiceReport:
    """The report, its lines cut to ``REPORTED_LINE_CHARS_MAX``. Raises :class:`Invalid`."""
    sizes = (report.bytes.origin, report.bytes.peer, report.bytes.local, report.target_bytes)
    numbers = (report.active_age_ms, report.generation.epoch, report.generation.counter, report.deaths)
    if not (0 <= min(sizes) <= max(sizes) <= ARTIFACT_CONTENT_BYTES_MAX and 0 <= min(numbers) <= max(numbers) <= _NUMBER_MAX):
        raise Invalid("implausible_report", f"the report on {report.service} has a number that no machine can mean")
    if max(len(report.error), len(report.waiting_for)) <= REPORTED_LINE_CHARS_MAX and not (report.output or report.drift):
        return report
    error, waiting_for = report.error[:REPORTED_LINE_CHARS_MAX], report.waiting_for[:REPORTED_LINE_CHARS_MAX]
    output = tuple(line[:FAILURE_LINE_CHARS_MAX] for line in report.output[-FAILURE_LINES_MAX:])
    drift = tuple(line[:REPORTED_LINE_CHARS_MAX] for line in report.drift[: DRIFT_LINES_MAX + 1])
    return replace(report, error=error, waiting_for=waiting_for, output=output, drift=drift)
