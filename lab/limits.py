"""Bounds of the lab, each with its unit in its name, and the settings that are the same for every link."""

from __future__ import annotations

from typing import Final

HOSTS_MAX: Final = 200
"""Each costs a namespace, two interfaces and a permanent neighbour at every other."""
RACKS_MAX: Final = 40
RATE_MBIT_MAX: Final = 10_000
UNLIMITED_MBIT: Final = 100_000
"""A link without a limit, where its shaper stays for the sake of its counters."""
DELAY_MS_MAX: Final = 2_000
OVERSUBSCRIPTION_MAX: Final = 100

BURST_KIB: Final = 256
"""What a shaper lets through at once: four of the batches (64 KiB) that the kernel makes of a TCP stream's packets."""
UNLIMITED_BURST_KIB: Final = 16_384
QUEUE_MS: Final = 50
"""How long a packet may wait at a shaper before it is dropped."""

RELAY_QUEUE_BYTES_MAX: Final = 64 * 2**20
"""What one direction of a delayed link holds; what does not fit is lost, as at any router."""
RELAY_READY_S_MAX: Final = 20.0

MACHINE_READY_S_MAX: Final = 30.0
"""For systemd to be up."""

COMMAND_S_MAX: Final = 60.0
END_S_MAX: Final = 20.0
"""For killed processes to be gone."""
