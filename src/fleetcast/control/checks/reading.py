"""What the answers to outside checks mean (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from fleetcast.model.check import Check, CheckAnswer, CheckOutcome
from fleetcast.model.lines import one_line

_SAID_CHARS: Final = 200


def filled(text: str, about: Mapping[str, str]) -> str:
    """With the names of what is being rolled out in place of ``{service}`` and so on."""
    for name, value in about.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def unknown(why: str, output: str = "") -> CheckAnswer:
    return CheckAnswer(CheckOutcome.UNKNOWN, one_line(why)[:_SAID_CHARS], output)


def of_exit(code: int, output: str) -> CheckAnswer:
    """Of a command that ended by itself."""
    outcome = CheckOutcome.FAILED if code else CheckOutcome.PASSED
    return CheckAnswer(outcome, f"it exited {code}" if code >= 0 else f"it was killed by signal {-code}", output)


def of_url(check: Check, status: int, body: bytes) -> CheckAnswer:
    """Of an answer over HTTP. What it says is shown only where the plan asked for it."""
    if not 200 <= status < 300:
        return CheckAnswer(CheckOutcome.FAILED, f"status {status}")
    if not check.expects:
        return CheckAnswer(CheckOutcome.PASSED, f"status {status}")
    try:
        said = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return CheckAnswer(CheckOutcome.FAILED, f"status {status}, and no JSON object")
    for name, value in check.expects.items():
        found = said.get(name)
        # True is 1 to Python, and not to whoever wrote the plan.
        if found != value or isinstance(found, bool) is not isinstance(value, bool):
            shown = one_line(msgspec.json.encode(found).decode())[:_SAID_CHARS]
            return CheckAnswer(CheckOutcome.FAILED, f"{name} is {shown}, not {msgspec.json.encode(value).decode()}")
    return CheckAnswer(CheckOutcome.PASSED, f"status {status}, as expected")


def of_query(check: Check, status: int, body: bytes) -> CheckAnswer:
    """Of an instant query of Prometheus: https://prometheus.io/docs/prometheus/latest/querying/api/. It counts as asked only
    where there is a value."""
    try:
        said = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return unknown(f"status {status}, and not what Prometheus answers")
    if status != 200 or said.get("status") != "success":
        return unknown(f"status {status}: {said.get('error', 'no error is named')}")
    try:
        values = list(_values(said["data"]))
    except (KeyError, TypeError, ValueError, IndexError):
        return unknown("not what Prometheus answers to an instant query for numbers")
    if not values or any(map(math.isnan, values)):
        return unknown("no data")
    for value in values:
        if check.below is not None and not value < check.below:
            return CheckAnswer(CheckOutcome.FAILED, f"{value:g} is not below {check.below:g}")
        if check.above is not None and not value > check.above:
            return CheckAnswer(CheckOutcome.FAILED, f"{value:g} is not above {check.above:g}")
    words = [f"below {check.below:g}"] if check.below is not None else []
    words += [f"above {check.above:g}"] if check.above is not None else []
    figure = f"{values[0]:g} is" if len(values) == 1 else f"{len(values)} values, {min(values):g} to {max(values):g}, are"
    return CheckAnswer(CheckOutcome.PASSED, f"{figure} {' and '.join(words)}")


def _values(data: Mapping[str, Any]) -> Iterator[float]:
    match data["resultType"]:
        case "scalar":
            yield float(data["result"][1])
        case "vector":
            for sample in data["result"]:
                yield float(sample["value"][1])
        case kind:
            raise ValueError(kind)
