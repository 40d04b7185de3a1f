"""Probes: how a service is asked whether it is well, and how often the answer must be the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from fleetcast.model.limits import (
    HEALTH_INTERVAL_S,
    HEALTH_TIMEOUT_S_MAX,
    PROBE_INTERVAL_S_MAX,
    PROBE_THRESHOLD_MAX,
    PROBE_TIMEOUT_S,
    PROBE_TIMEOUT_S_MAX,
)
from fleetcast.model.spelling import Natural, Spelling, stated

HTTP_URL: Final = Spelling(r"http://[^\s/\x00]+(/[^\s\x00]*)?")
"""Unencrypted: it is asked on its own machine. What needs more is a command."""
TCP_ADDRESS: Final = Spelling(r"[^\s/\x00]+:[^\s/:\x00]+")
UNIT: Final = Spelling(r"[A-Za-z0-9:_.@\\-]+\.[a-z]+")
HOST_NAME: Final = Spelling(r"[!-~]*")
VARIABLE_IN_TEXT: Final = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


@dataclass(frozen=True, slots=True)
class Probe:
    """At most one of ``http``, ``tcp`` and ``unit`` is not empty; with none, the recipe's ``health`` is the command that is
    run. ``$NAME`` in ``http`` and ``tcp`` stands for what the service's commands see under that name.
    """

    http: Annotated[str, HTTP_URL.meta_or_empty] = ""
    """Answered with ``status`` when all is well."""
    tcp: Annotated[str, TCP_ADDRESS.meta_or_empty] = ""
    """``HOST:PORT`` that takes connections when all is well."""
    unit: Annotated[str, UNIT.meta_or_empty] = ""
    """Of systemd, active when all is well."""
    status: Annotated[int, stated(minimum=0, maximum=599)] = 0
    """Of HTTP; 0: anything from 200 to 399."""
    host: Annotated[str, HOST_NAME.meta] = ""
    """Of the header by that name; empty: that of the URL."""
    grace_s: Annotated[float, stated(minimum=0, maximum=HEALTH_TIMEOUT_S_MAX)] = 0.0
    """From the start of the process to the first attempt; the time to come up begins after it."""
    interval_s: Annotated[float, stated(minimum=0, maximum=PROBE_INTERVAL_S_MAX)] = 0.0
    """Between two attempts; 0: what is usual, which is shorter while the service comes up."""
    timeout_s: Annotated[float, stated(exclusiveMinimum=0, maximum=PROBE_TIMEOUT_S_MAX)] = PROBE_TIMEOUT_S
    """Of one attempt."""
    threshold: Annotated[Natural, stated(minimum=1, maximum=PROBE_THRESHOLD_MAX)] = 1
    """Attempts in a row that must pass for the service to be well, and that must fail for one that was well to be sick."""
    watch: bool = True
    """Ask on and on, and not only until it has come up."""


def broken_probe(probe: Probe, command: str) -> str | None:
    """What no machine could carry out, in one line; ``None`` when all is well. ``command``: of the recipe's health check."""
    ways = {"http": probe.http, "tcp": probe.tcp, "unit": probe.unit, "command": command}
    asked = [name for name, text in ways.items() if text]
    if len(asked) != 1:
        said = f"not {' and '.join(asked)}" if asked else "and it has none"
        return f"health needs one of command, http, tcp and unit, {said}"
    if probe.http and not HTTP_URL.fits(probe.http):
        return f"http must be http://HOST[:PORT][/PATH], not {probe.http!r}; for anything else use a command"
    if probe.tcp and not TCP_ADDRESS.fits(probe.tcp):
        return f"tcp must be HOST:PORT, not {probe.tcp!r}"
    if probe.unit and not UNIT.fits(probe.unit):
        return f"unit must be the name of a unit with its kind, such as web.service, not {probe.unit!r}"
    if (probe.status or probe.host) and not probe.http:
        return "status and host belong to http"
    if not (probe.status == 0 or 100 <= probe.status <= 599):
        return "status must be a status of HTTP, 100 to 599"
    if not HOST_NAME.fits(probe.host):
        return "host must be a name, without spaces"
    return _out_of_bounds(probe)


def _out_of_bounds(probe: Probe) -> str | None:
    # Not written as two comparisons that NaN would pass.
    if not 0 <= probe.grace_s <= HEALTH_TIMEOUT_S_MAX:
        return f"grace_s must be a number of seconds, 0 to {HEALTH_TIMEOUT_S_MAX}"
    if not 0 <= probe.interval_s <= PROBE_INTERVAL_S_MAX or 0 < probe.interval_s < HEALTH_INTERVAL_S:
        return f"interval_s must be a number of seconds, {HEALTH_INTERVAL_S:g} to {PROBE_INTERVAL_S_MAX}"
    if not 0 < probe.timeout_s <= PROBE_TIMEOUT_S_MAX:
        return f"timeout_s must be a number of seconds above 0, at most {PROBE_TIMEOUT_S_MAX}"
    if not 1 <= probe.threshold <= PROBE_THRESHOLD_MAX:
        return f"threshold must be a whole number, 1 to {PROBE_THRESHOLD_MAX}"
    return None


def filled_in(text: str, environment: Mapping[str, str]) -> str:
    """``text`` with every ``$NAME`` and ``${NAME}`` replaced.

    Raises:
        KeyError: a name that ``environment`` does not have.
    """
    return VARIABLE_IN_TEXT.sub(lambda found: environment[found[1] or found[2]], text)
