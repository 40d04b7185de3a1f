"""What `fleetcast machine show` says of a machine."""

from __future__ import annotations

from fleetcast.cli.machines import machine_text
from fleetcast.model.deployment import ByteCounts
from fleetcast.model.generation import Generation
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, MachineId, RegionName, ServiceName
from fleetcast.model.machine import Machine
from fleetcast.model.messages.fleet import MachineDetail
from fleetcast.model.report import MachineAnswer, Phase, ServiceReport

TARGET = ReleaseRef(ArtifactName("web/" + "b" * 40), Digest("b" * 64), Digest("c" * 64))


def shown(report: ServiceReport, **more: tuple[str, ...]) -> list[str]:
    machine = Machine(MachineId("m1"), RegionName("eu"))
    answer = MachineAnswer(machine.id, 1000, (report,), **more)
    return machine_text(MachineDetail(machine, {}, 0, 0, None, False, 1.0, 10.0, answer, 60_000)).splitlines()


def report(phase: Phase, **more: object) -> ServiceReport:
    told: dict[str, object] = {"running": None, "bytes": ByteCounts(local=5), "target_bytes": 5, "active_age_ms": 0, **more}
    return ServiceReport(
        ServiceName("web"),
        "production",
        Generation(0, 1),
        DeploymentId("d1"),
        TARGET,
        phase,
        **told,  # type: ignore[arg-type]
    )


def test_the_last_lines_of_what_failed_are_below_the_error() -> None:
    failed = report(
        Phase.FAILED,
        error="pre_activate exited with 1: \x1b[31mno such table",
        output=("migrating", "\x1b[31mno such table"),
    )
    assert shown(failed)[-3:] == [
        "error: web: pre_activate exited with 1: no such table",
        "  | migrating",
        "  | no such table",
    ]
