"""``fleetcast machine show`` and ``label``: one machine, what runs on it, and the labels that people give it."""

from __future__ import annotations

import sys
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Final

from fleetcast.cli.connection import NO_CONNECTION, Connection
from fleetcast.cli.output import ago, print_json, seconds, short, size
from fleetcast.cli.terminal import stdout_table

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient
    from fleetcast.model.messages.fleet import MachineDetail
    from fleetcast.model.report import MachineAnswer, ServiceReport

LABEL_TRIES: Final = 5
"""When others label the same machine at the same time."""


def show(machine: str, *, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Show one machine and what runs on it. Its region is asked, and given ten seconds to answer.

    For example: `fleetcast machine show eu-west-17`

    Parameters
    ----------
    machine
        Its id.
    json
        Print it as JSON.
    """
    from fleetcast.cli.status import MACHINE_WAIT_S
    from fleetcast.model.ids import machine_id

    wanted = machine_id(machine)
    detail = connection.ask(lambda control: control.machine(wanted, wait_s=MACHINE_WAIT_S))
    print_json(detail) if json else print(machine_text(detail))


def label(machine: str, *changes: str, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Give a machine labels, over those of its own settings, or take given ones away. Without changes, show its labels.

    Services that select by label find the machine, or leave it, once it has taken them up: within half a minute.
    What it runs goes on running when a service does not select it any more.

    For example: `fleetcast machine label eu-west-17 role=web gpu=a100`, and later `fleetcast machine label eu-west-17 gpu-`

    Parameters
    ----------
    machine
        Its id.
    changes
        KEY=VALUE gives a label, KEY- takes a given one away.
    json
        Print the machine as JSON.
    """
    from fleetcast.model.ids import machine_id

    wanted = machine_id(machine)
    given, taken = _parsed(changes)
    detail, gone = connection.ask(lambda control: _relabel(control, wanted, given, taken))
    if json:
        print_json(detail)
        return
    print(f"machine {machine}: {_labels(detail, gone) or 'no labels'}")
    if changes:
        print(f"to see when it has taken them up: fleetcast machine show {machine}")


def machine_text(detail: MachineDetail) -> str:
    """Where it is, what it is labelled with, what it runs."""
    machine, answer = detail.machine, detail.answer
    where = "".join(f", {what} {name}" for what, name in (("zone", machine.zone), ("rack", machine.rack)) if name)
    joined, seen = _ago(detail, detail.joined_at_ms), _ago(detail, detail.last_seen_at_ms)
    lines = []
    if answer is None and detail.waited_s:
        report = "never reported" if detail.region_report_age_s is None else f"reported {ago(detail.region_report_age_s)}"
        lines.append(f"{machine.region} has not answered for {detail.waited_s:g} s ({report}); below is what control knows")
    lines.append(f"machine {machine.id} in {machine.region}{where}; joined {joined}, seen {seen}")
    if detail.retired_at_ms is not None:
        lines.append(f"retired {_ago(detail, detail.retired_at_ms)}: nothing waits for it")
    if detail.region_drained:
        lines.append(f"{machine.region} is drained: nothing waits for its machines")
    if labels := _labels(detail):
        lines.append(f"labels: {labels}")
    if answer is not None:
        lines += _running(answer, machine.region)
    return "\n".join(lines)


def _running(answer: MachineAnswer, region: str) -> list[str]:
    from fleetcast.model.lines import showable

    if answer.heard_age_ms is None:
        return [f"{region} has not heard of it since {region} was started: look at its agent"]
    lines = [f"it reported {ago(answer.heard_age_ms / 1000)}"]
    if answer.services:
        header = ["SERVICE", "RUNS", "GOAL", "PHASE", "SINCE", "HAS", "OF", "WAITS FOR"]
        lines += ["", stdout_table(header, [_service_row(report) for report in answer.services])]
    else:
        lines.append("no service has a goal for it")
    for report in answer.services:
        if report.error:
            lines.append(f"error: {report.service}: {showable(report.error)}")
            lines += [f"  | {showable(line)}" for line in report.output]
        lines += [f"drift: {report.service}: {showable(line)}" for line in report.drift]
    return lines + [f"alarm: {showable(alarm)}" for alarm in answer.alarms]


def _service_row(report: ServiceReport) -> list[str]:
    from fleetcast.model.report import Phase

    active = report.phase is Phase.ACTIVE and not report.removed
    return [
        report.service,
        "-" if report.running is None else short(report.running.artifact.partition("/")[2]),
        "removed" if report.removed else short(report.target.artifact.partition("/")[2]),
        _phase(report),
        seconds(report.active_age_ms / 1000) if active else "-",
        size(report.bytes.total),
        size(report.target_bytes),
        report.waiting_for or "-",
    ]


def _phase(report: ServiceReport) -> str:
    from fleetcast.model.report import Phase

    if report.removed:
        return "GONE" if report.phase is Phase.ACTIVE else "STOPPING"
    return report.phase


def _labels(detail: MachineDetail, gone: Set[str] = frozenset()) -> str:
    """Every label with where it is from. ``gone``: keys of those that were just taken away."""
    told = detail.machine.labels
    texts = []
    for key in sorted(told.keys() | detail.given.keys()):
        given = detail.given.get(key)
        if given is None:
            texts.append(f"{key}={told[key]}{' (taken away, not taken up yet)' if key in gone else ''}")
        else:
            texts.append(f"{key}={given} (given{'' if told.get(key) == given else ', not taken up yet'})")
    return " ".join(texts)


def _ago(detail: MachineDetail, at_ms: int) -> str:
    return ago((detail.now_ms - at_ms) / 1000)


def _parsed(changes: Sequence[str]) -> tuple[dict[str, str], set[str]]:
    """What to give and what to take away. Raises :class:`Invalid`."""
    from fleetcast.model.errors import Invalid

    given: dict[str, str] = {}
    taken: set[str] = set()
    for text in changes:
        key, equals, value = text.partition("=")
        if not equals and not (text.endswith("-") and text != "-"):
            raise Invalid("bad_label", f"{text!r}: expected KEY=VALUE to give a label, or KEY- to take it away")
        key = key if equals else text[:-1]
        if key in given or key in taken:
            raise Invalid("bad_label", f"label {key} is named twice: say what it should be")
        if equals:
            given[key] = value
        else:
            taken.add(key)
    return given, taken


async def _relabel(
    control: ControlClient, machine: str, given: dict[str, str], taken: set[str]
) -> tuple[MachineDetail, Set[str]]:
    """Give and take, on what is given at that moment. The machine afterwards, and the keys that it is given no more."""
    from fleetcast.model.errors import Conflict
    from fleetcast.model.ids import MachineId
    from fleetcast.model.messages.fleet import LabelsRequest

    for tried in range(1, LABEL_TRIES + 1):
        detail = await control.machine(MachineId(machine))
        if not given and not taken:
            return detail, frozenset()
        for key in sorted(taken - detail.given.keys()):
            print(f"{machine} was not given a label {key}", file=sys.stderr)
        wanted = {key: value for key, value in detail.given.items() if key not in taken} | given
        try:
            after = await control.label(detail.machine.id, LabelsRequest(wanted, instead_of=detail.given))
            return after, detail.given.keys() - wanted.keys()
        except Conflict:
            if tried == LABEL_TRIES:
                raise
    raise AssertionError
