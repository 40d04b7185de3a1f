"""What a lab should look like: hosts, racks, rates. Decides nothing about how it is made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lab.errors import LabError
from lab.limits import DELAY_MS_MAX, HOSTS_MAX, OVERSUBSCRIPTION_MAX, RACKS_MAX, RATE_MBIT_MAX

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)(mbit|gbit)")
_MBIT: Final = {"mbit": 1.0, "gbit": 1000.0}


@dataclass(frozen=True)
class HostPlan:
    """One host and its link."""

    name: str
    rate_mbit: float = 0
    """In each direction; 0: no limit."""
    zone: str = ""
    rack: str = ""
    loss: float = 0
    """The share of packets that each direction loses. Those of a stream that the kernel batches are lost together."""
    delay_ms: float = 0
    """One way, on top of what this machine takes itself."""


@dataclass(frozen=True)
class RackPlan:
    """Hosts behind one uplink."""

    name: str
    oversubscription: float = 1
    """The uplink carries, in each direction, the sum of its hosts' rates divided by this."""
    delay_ms: float = 0
    """One way, over the uplink."""


@dataclass(frozen=True)
class Plan:
    """Raises :class:`LabError` where it makes no sense or is larger than a lab may be."""

    hosts: Sequence[HostPlan]
    racks: Sequence[RackPlan] = ()

    def __post_init__(self) -> None:
        _check_names("host", [host.name for host in self.hosts], HOSTS_MAX)
        _check_names("rack", [rack.name for rack in self.racks], RACKS_MAX)
        racks = {rack.name for rack in self.racks}
        for host in self.hosts:
            _check(not host.rack or host.rack in racks, f"{host.name} is in a rack that is not planned: {host.rack}")
            _check(0 <= host.rate_mbit <= RATE_MBIT_MAX, f"a rate is 0 (no limit) to {RATE_MBIT_MAX} Mbit/s: {host.name}")
            _check(0 <= host.loss < 1, f"a loss is from 0 to below 1: {host.name}")
        for delay_ms in self.delays_ms:
            _check(0 <= delay_ms <= DELAY_MS_MAX, f"a delay is 0 to {DELAY_MS_MAX} ms, not {delay_ms:g}")
        for rack in self.racks:
            _check(
                1 <= rack.oversubscription <= OVERSUBSCRIPTION_MAX,
                f"an oversubscription is 1 to {OVERSUBSCRIPTION_MAX}: {rack.name}",
            )

    @property
    def delays_ms(self) -> list[float]:
        """Of every link."""
        return [host.delay_ms for host in self.hosts] + [rack.delay_ms for rack in self.racks]

    def uplink_mbit(self, rack: RackPlan) -> float:
        """0: no limit, for at least one of its hosts has none."""
        rates = [host.rate_mbit for host in self.hosts if host.rack == rack.name]
        return sum(rates) / rack.oversubscription if all(rates) else 0


def even(hosts: int, rate_mbit: float, racks: int = 0, oversubscription: float = 1) -> Plan:
    """``origin`` outside of all racks and so many hosts, ``host-1`` and on, dealt evenly to the racks; all at one rate."""
    if racks and not 0 < racks <= hosts:
        raise LabError(f"{hosts} hosts cannot fill {racks} racks")
    rack_of = [f"rack-{number * racks // hosts + 1}" if racks else "" for number in range(hosts)]
    return Plan(
        [
            HostPlan("origin", rate_mbit),
            *(HostPlan(f"host-{number}", rate_mbit, rack=rack) for number, rack in enumerate(rack_of, 1)),
        ],
        [RackPlan(f"rack-{number + 1}", oversubscription) for number in range(racks)],
    )


def parse_rate(text: str) -> float:
    """Mbit/s of ``50mbit`` or ``1gbit``. Raises :class:`LabError`."""
    matched = _RATE.fullmatch(text.strip().lower())
    _check(matched is not None, f"write a rate as 50mbit or 1gbit, not {text}")
    assert matched is not None
    return float(matched[1]) * _MBIT[matched[2]]


def _check_names(what: str, names: Sequence[str], count_max: int) -> None:
    _check(len(names) <= count_max, f"a lab has at most {count_max} {what}s, not {len(names)}")
    _check(len(set(names)) == len(names), f"two {what}s have one name")
    for name in names:
        _check(_NAME.fullmatch(name) is not None and name != "hub", f"not a name for a {what}: {name}")


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise LabError(otherwise)
