"""Control, and what it sees of regions, buckets and machines: one question, and much in the answer."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from fleetcast import __version__
from fleetcast.cli.doctor.checks import Check, fail, ok, warn
from fleetcast.http import messages
from fleetcast.http.problems import raise_problem
from fleetcast.model import protocol
from fleetcast.model.errors import FleetcastError, Forbidden, Incompatible, NotFound, Unauthorized
from fleetcast.model.limits import ANSWER_BYTES_MAX, HTTP_CONNECT_S_MAX, REGION_REPORT_INTERVAL_S
from fleetcast.model.messages.diagnosis import Diagnosis, RegionDiagnosis

CLOCK_WARN_S: Final = 2.0
CLOCK_FAIL_S: Final = 30.0
DATE_RESOLUTION_S: Final = 2.0
"""A Date header has whole seconds, and a server makes one a second."""
REPORT_WARN_S: Final = 6 * REGION_REPORT_INTERVAL_S
REPORT_FAIL_S: Final = 60 * REGION_REPORT_INTERVAL_S
ANSWER_S_MAX: Final = 4 * HTTP_CONNECT_S_MAX
"""Control looks into every bucket before it answers."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    clock_off_s: float | None
    """How far this clock is behind (positive) or ahead of control's, at least; ``None``: it did not say."""


def control(url: str, token: str, *, down_is_fine: bool) -> Iterator[Check]:
    """All there is to say about it. ``down_is_fine``: nobody has started it here, nor anything else."""
    try:
        answer = _ask(url, token)
    except (OSError, http.client.HTTPException, ValueError) as error:
        says = f"{url} cannot be reached ({error or type(error).__name__})"
        if down_is_fine:
            yield warn("control", f"{says}: nothing listens there", "fleetcast up starts it")
        else:
            yield fail("control", says, "see that it runs, that the address is right, and that no firewall is between")
        return
    if answer.clock_off_s is not None:
        yield _clock(answer.clock_off_s)
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
        yield from _regions(diagnosis)
        yield _machines(diagnosis)
        yield from _polling(diagnosis)


def _ask(url: str, token: str) -> _Answer:
    parts = urlsplit(url)
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.netloc, timeout=ANSWER_S_MAX, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=ANSWER_S_MAX)
    try:
        connection.connect()
        before = time.time()
        connection.request("GET", f"{parts.path.rstrip('/')}/v1/diagnosis", headers={"authorization": f"Bearer {token}"})
        response = connection.getresponse()
        after = time.time()
        return _Answer(response.status, response.read(ANSWER_BYTES_MAX), _off_s(response.getheader("Date"), before, after))
    finally:
        connection.close()


def _off_s(date: str | None, before: float, after: float) -> float | None:
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return None
    if theirs > after:
        return theirs - after
    return min(0.0, theirs + DATE_RESOLUTION_S - before)


def _understood(answer: _Answer) -> Diagnosis:
    if answer.status != http.client.OK:
        raise_problem(answer.status, answer.body)
    return messages.decode(answer.body, Diagnosis)


def _clock(off_s: float) -> Check:
    if abs(off_s) <= CLOCK_WARN_S:
        return ok("clock", f"within {CLOCK_WARN_S:g} s of control's")
    says = f"{abs(off_s):.0f} s {'behind' if off_s > 0 else 'ahead of'} control's"
    advice = "run an NTP client on both hosts: grants and tickets expire by the clock"
    return (fail if abs(off_s) > CLOCK_FAIL_S else warn)("clock", says, advice)


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
