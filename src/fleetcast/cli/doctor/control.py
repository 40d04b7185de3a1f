"""Control, and what it sees of regions, buckets and machines: one question, and much in the answer."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Final

from fleetcast import __version__
from fleetcast.cli.doctor.asking import Answer, ask
from fleetcast.cli.doctor.checks import Check, fail, ok, warn
from fleetcast.cli.doctor.clocks import clock
from fleetcast.cli.doctor.control_processes import control_processes
from fleetcast.http import messages
from fleetcast.http.problems import raise_problem
from fleetcast.model import protocol
from fleetcast.model.errors import FleetcastError, Forbidden, Incompatible, NotFound, Unauthorized
from fleetcast.model.limits import HTTP_CONNECT_S_MAX, REGION_REPORT_INTERVAL_S
from fleetcast.model.messages.diagnosis import Diagnosis, RegionDiagnosis

REPORT_WARN_S: Final = 6 * REGION_REPORT_INTERVAL_S
REPORT_FAIL_S: Final = 60 * REGION_REPORT_INTERVAL_S
ALARMS_SHOWN_MAX: Final = 5
"""Of each region; fleetcast status has them all."""
ANSWER_S_MAX: Final = 4 * HTTP_CONNECT_S_MAX


def control(url: str, token: str, *, down_is_fine: bool) -> Iterator[Check]:
    """All there is to say about it. ``down_is_fine``: nobody has started it here, nor anything else."""
    try:
        # Control looks into every bucket before it answers.
        answer = ask(url, "/v1/diagnosis", timeout_s=ANSWER_S_MAX, headers={"authorization": f"Bearer {token}"})
    except (OSError, http.client.HTTPException, ValueError) as error:
        says = f"{url} cannot be reached ({error or type(error).__name__})"
        if down_is_fine:
            yield warn("control", f"{says}: nothing listens there", "fleetcast up starts it")
        else:
            yield fail("control", says, "see that it runs, that the address is right, and that no firewall is between")
        return
    if answer.clock_behind_s is not None:
        yield clock("clock", "control's", answer.clock_behind_s)
    try:
        diagnosis = _understood(answer)
    except (Unauthorized, Forbidden) as error:
        yield ok("control", f"{url} answers")
        yield fail("token", error.message, "pass --token-file with the admin token (secrets/admin.token of the installation)")
    except NotFound as error:
        yield warn("control", f"{url}: {error.message}", "it may be older than this program: upgrade it, or check the address")
    except Incompatible as error:
        yield fail("control", error.message, "upgrade the older one")
    except FleetcastError as error:
        yield fail("control", f"{url}: {error.message}", "look into control's log")
    else:
        yield _version(url, diagnosis)
        yield ok("token", "accepted, as admin's")
        yield from control_processes(diagnosis.controls)
        yield from _regions(diagnosis)
        yield _machines(diagnosis)
        yield from _polling(diagnosis)


def _understood(answer: Answer) -> Diagnosis:
    if answer.status != http.client.OK:
        raise_problem(answer.status, answer.body)
    return messages.decode(answer.body, Diagnosis)


def _version(url: str, diagnosis: Diagnosis) -> Check:
    says = f"{url}, version {diagnosis.version}, protocol {diagnosis.protocol}"
    if diagnosis.protocol != protocol.PROTOCOL:
        return warn("control", f"{says}; this program speaks {protocol.PROTOCOL}", "upgrade the older one")
    if diagnosis.version != __version__:
        return warn("control", f"{says}; this program is {__version__}", "upgrade the older one")
    return ok("control", says)


def _regions(diagnosis: Diagnosis) -> Iterator[Check]:
    if diagnosis.main_bucket_error:
        yield fail("main store", diagnosis.main_bucket_error, "look into control's log, and at its disk")
    if not diagnosis.regions:
        yield warn("regions", "none has ever reported", "start one: fleetcast region, or fleetcast up")
    for region in diagnosis.regions:
        yield _report(region)
        for alarm in region.alarms[:ALARMS_SHOWN_MAX]:
            yield warn(f"region {region.name}", "reports an alarm", alarm)
        name = f"bucket {region.name}"
        if region.bucket_error:
            says = f"control cannot look into it: {region.bucket_error}"
            advice = "see that the region runs, and that control reaches its data port"
            yield (warn if region.drained else fail)(name, says, advice)
        else:
            yield ok(name, "control can look into it")


def _report(region: RegionDiagnosis) -> Check:
    name, age_s = f"region {region.name}", region.last_report_age_s
    drained = ", drained" if region.drained else ""
    if age_s is not None and age_s <= REPORT_WARN_S:
        return ok(name, f"reported {age_s:.0f} s ago{drained}")
    says = f"{'never reported' if age_s is None else f'last reported {age_s:.0f} s ago'}{drained}"
    late = age_s is None or age_s > REPORT_FAIL_S
    advice = f"start it, or leave it out meanwhile: fleetcast drain {region.name}"
    return (fail if late and not region.drained else warn)(name, says, advice)


def _machines(diagnosis: Diagnosis) -> Check:
    if not diagnosis.machines:
        return warn("machines", "none is known", "start one: fleetcast agent, or fleetcast up")
    if not diagnosis.silent:
        return ok("machines", f"{diagnosis.machines}, none silent")
    named = ", ".join(diagnosis.silent) + (" and more" if diagnosis.more_silent else "")
    says = f"silent, of {diagnosis.machines}: {named}"
    return warn("machines", says, "start their agents, or fleetcast machine retire those that are gone")


def _polling(diagnosis: Diagnosis) -> Iterator[Check]:
    if not diagnosis.polled:
        return
    count = "1 service" if diagnosis.polled == 1 else f"{diagnosis.polled} services"
    if diagnosis.git_error:
        yield fail("polling", f"{count}, and control cannot look at any", diagnosis.git_error)
    else:
        yield ok("polling", f"{count}; control has git")
