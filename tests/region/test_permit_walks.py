"""Whatever machines ask, report and suffer, and however often the region is started anew: no limit is exceeded (law 5)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal, Limits, ReleaseRef
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, MachineId, ServiceName
from fleetcast.model.machine import Selector
from fleetcast.model.permit import PermitRequest
from fleetcast.region.permits import PermitBook, PermitTerms
from fleetcast.region.places import Spot, Tally

LIFETIME_S = 10.0
REPORT_S = 3.0
MACHINES = {MachineId(f"m{index}"): Spot("ab"[index % 2], "rs"[index // 2 % 2]) for index in range(12)}
NAMES = st.sampled_from(sorted(MACHINES))
BOUNDS = st.one_of(st.none(), st.integers(1, 4))
RELEASE = ReleaseRef(ArtifactName("web/a"), Digest("a" * 64), Digest("a" * 64))


@dataclass
class Host:
    """What is true of a machine, whatever the region knows."""

    spot: Spot
    until: float = 0.0
    """It may be down under a permit that long."""
    dead: bool = False
    """It is down, and nobody took it down."""
    selected: bool = True
    """The service is meant to run there."""


class PermitWalk(RuleBasedStateMachine):
    """One service. Times are the region's monotonic seconds; a report reaches it within ``REPORT_S``."""

    @initialize(region=BOUNDS, zone=BOUNDS, rack=BOUNDS)
    def found(self, region: int | None, zone: int | None, rack: int | None) -> None:
        self.now = 0.0
        self.limits = Limits(region, None, zone, rack)
        generation, deployment = Generation(0, 1), DeploymentId("d1")
        self.goal = Goal(
            ServiceName("web"), "production", generation, deployment, False, Selector(), RELEASE, None, (), self.limits, 10**15
        )
        self.hosts = {machine: Host(spot) for machine, spot in MACHINES.items()}
        self.down = Tally()
        self.settled_at = 0.0
        self.book = PermitBook(PermitTerms(LIFETIME_S, self.settled_at))
        self.forgetful_until = 0.0
        """The region process is new, and not every machine has told it how it is."""

    @rule(machine=NAMES, back=st.booleans())
    def ask(self, machine: MachineId, back: bool) -> None:
        host, goal = self.hosts[machine], replace(self.goal, rollback=back)
        held = host.until > self.now
        request = PermitRequest(machine, goal.service, goal.environment, goal.generation, not host.dead)
        granted = self.book.ask(request, goal, host.spot, self.down, self.now, 0).granted
        if host.dead or held or back:
            host.until = self.now + LIFETIME_S if granted else host.until
            return
        gone = [other for other in self.hosts.values() if other is not host and (other.dead or other.until > self.now)]
        bounds = (
            (gone, self.limits.max_unavailable),
            ([other for other in gone if other.spot.zone == host.spot.zone], self.limits.max_unavailable_zone),
            ([other for other in gone if other.spot == host.spot], self.limits.max_unavailable_rack),
        )
        room = all(most is None or len(unavailable) < most for unavailable, most in bounds)
        if granted:
            assert room
            host.until = self.now + LIFETIME_S
        elif self.now >= self.settled_at:
            assert not room, "whoever is retired, has left or is up again holds nobody up"

    @rule(machine=NAMES)
    def done(self, machine: MachineId) -> None:
        """It is up again, and gives its permit back."""
        self.hosts[machine].until = 0.0
        self.book.release(PermitRequest(machine, self.goal.service, self.goal.environment, self.goal.generation, True))

    @rule(machine=NAMES, dead=st.booleans())
    def turn(self, machine: MachineId, dead: bool) -> None:
        """It dies, or is found up again, and says so."""
        self.hosts[machine].dead = dead and self.hosts[machine].selected
        self.report(machine)

    @rule(machine=NAMES)
    def retire(self, machine: MachineId) -> None:
        """It is gone for good, whatever it held, and another one comes in its place."""
        self.hosts[machine] = Host(MACHINES[machine])
        self.down.discard(machine)
        self.book.forget([machine])

    @rule(machine=NAMES, selected=st.booleans())
    def relabel(self, machine: MachineId, selected: bool) -> None:
        """The service is no longer meant to run there, or is again. A permit is held until it is given back or over."""
        host = self.hosts[machine]
        host.selected, host.dead = selected, host.dead and selected
        self.report(machine)

    @rule(machine=NAMES)
    def report(self, machine: MachineId) -> None:
        if self.hosts[machine].dead:
            self.down.add(machine, self.hosts[machine].spot)
        else:
            self.down.discard(machine)

    @rule(seconds=st.floats(0.1, 2 * LIFETIME_S))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        """What the process knew is gone; permits that it gave are not."""
        self.down = Tally()
        self.settled_at = self.now + LIFETIME_S
        self.book = PermitBook(PermitTerms(LIFETIME_S, self.settled_at))
        self.forgetful_until = self.now + REPORT_S

    @invariant()
    def told_again(self) -> None:
        if self.now >= self.forgetful_until:
            for machine in self.hosts:
                self.report(machine)


TestPermitWalk = PermitWalk.TestCase
TestPermitWalk.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_a_tally_counts_as_a_list_would() -> None:
    tally = Tally()
    for machine, spot in MACHINES.items():
        tally.add(machine, Spot())
        tally.add(machine, spot)
    tally.discard(MachineId("m0"))
    tally.discard(MachineId("m0"))
    for machine, spot in MACHINES.items():
        others = [there for other, there in MACHINES.items() if other not in ("m0", machine)]
        counted = tally.counted(spot, but=machine)
        assert counted.region == len(others)
        assert counted.zone == sum(there.zone == spot.zone for there in others)
        assert counted.rack == sum(there == spot for there in others)
