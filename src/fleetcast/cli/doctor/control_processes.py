"""Control processes, as they say of themselves in their database: where, of which version, with which clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from fleetcast.cli.doctor.checks import Check, fail, ok, warn
from fleetcast.cli.doctor.clocks import CLOCK_FAIL_S, CLOCK_WARN_S
from fleetcast.cli.output import ago
from fleetcast.model.limits import CONTROL_SEEN_S_MAX
from fleetcast.model.messages.diagnosis import ControlDiagnosis

NAME: Final = "control processes"


def control_processes(controls: Sequence[ControlDiagnosis]) -> Iterator[Check]:
    """All there is to say about them; nothing where control is too old to know of any."""
    running = [each for each in controls if each.last_seen_age_s <= CONTROL_SEEN_S_MAX]
    places = {each.place for each in running}
    for each in controls:
        if each.place not in places:
            places.add(each.place)
            says = f"{each.place} was last heard of {ago(each.last_seen_age_s)}, and did not say that it ends"
            yield warn(NAME, says, "start it again if it ought to run; an hour after it was heard of it is forgotten")
    if not running:
        return
    says = ", ".join(f"{each.place} ({each.version})" for each in running)
    if len({each.version for each in running}) > 1:
        yield warn(NAME, f"of different versions: {says}", "upgrade the older ones: that is meant for a short while")
    else:
        yield ok(NAME, f"{len(running)}: {says}")
    for each in running:
        yield from _clock(each)


def _clock(each: ControlDiagnosis) -> Iterator[Check]:
    off_s = each.clock_ahead_ms / 1000
    if abs(off_s) > CLOCK_WARN_S:
        says = f"the clock of {each.place} is {abs(off_s):.0f} s {'ahead of' if off_s > 0 else 'behind'} the database's"
        advice = "run an NTP client on both hosts"
        yield (fail if abs(off_s) > CLOCK_FAIL_S else warn)(NAME, says, advice)
