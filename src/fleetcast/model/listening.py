"""The sockets that a service is started with: which texts name one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

from fleetcast.model.limits import SOCKET_PATH_BYTES_MAX, SOCKETS_MAX
from fleetcast.model.probe import Probe
from fleetcast.model.spelling import Spelling, stated

ADDRESS: Final = Spelling(r"/[^\s\x00]+|[^\s/\x00]+:[^\s/:\x00]+")
"""``HOST:PORT``, or the path of a unix socket."""
HEALTH_VARIABLE: Final = "FLEETCAST_HEALTH"
"""Names the address of a socket of one start alone, which is passed last where the health check names it."""

Sockets: TypeAlias = Annotated[tuple[Annotated[str, ADDRESS.meta], ...], stated(maxItems=SOCKETS_MAX, uniqueItems=True)]
"""``$NAME`` in one stands for what the service's commands see under that name."""


def has_own_socket(health: str, probe: Probe | None) -> bool:
    """Whether the health check asks at a socket that belongs to the start which it asks about."""
    return HEALTH_VARIABLE in health or (probe is not None and HEALTH_VARIABLE in probe.http + probe.tcp)


def broken_sockets(sockets: Sequence[str], activate: str | None, probe: Probe | None) -> str | None:
    """What no machine could carry out, or what would say nothing, in one line; ``None`` when all is well.

    ``activate``: ``None`` where that is said elsewhere.
    """
    if not sockets:
        return None
    if len(sockets) > SOCKETS_MAX:
        return f"sockets are at most {SOCKETS_MAX}"
    if len(set(sockets)) < len(sockets):
        return "sockets must be different from each other"
    for address in sockets:
        if not ADDRESS.fits(address):
            return f"sockets must be HOST:PORT or /PATH, not {address!r}"
        if len(address.encode()) > SOCKET_PATH_BYTES_MAX:
            return f"sockets must be of at most {SOCKET_PATH_BYTES_MAX} bytes, which {address!r} is not"
    if activate == "":
        return "sockets are passed to what activate starts, and it is missing"
    if probe is not None and (probe.http or probe.tcp) and not has_own_socket("", probe):
        way = "http" if probe.http else "tcp"
        return f"{way} must name ${HEALTH_VARIABLE} where there are sockets: elsewhere the release before may answer"
    return None
