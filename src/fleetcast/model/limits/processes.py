"""The processes of an installation, and the clocks of their hosts."""

from __future__ import annotations

from typing import Final

from fleetcast.model.limits.units import MIB

# An installation's processes
PROCESS_READY_S_MAX: Final = 90
"""From the start of the first process to the last one being ready."""
PROCESS_STOP_S_MAX: Final = 12
"""From the request to stop a tier until its processes are killed."""
PROCESS_ORPHANED_S_MAX: Final = 15
"""How long a process may take to end after its supervisor is gone, before it ends at once."""
PROCESS_RESTART_S_MIN: Final = 0.5
PROCESS_RESTART_S_MAX: Final = 30
"""Between the end of a process and its next start; doubles."""
PROCESS_STEADY_S: Final = 60
"""A process that lived so long is well again: its next end counts as the first."""
PROCESS_LOG_BYTES_MAX: Final = 8 * MIB
"""A larger log of a process is put aside (one is kept)."""
PROCESS_LOG_LOOK_INTERVAL_S: Final = 30
SETTINGS_LOOK_INTERVAL_S: Final = 2
"""How often a process looks whether its settings file was changed."""

# Control processes, in their database
CONTROL_SEEN_INTERVAL_S: Final = 5
"""How often one says that it runs."""
CONTROL_SEEN_S_MAX: Final = 20
"""One that has not said so for so long has ended."""
CONTROL_FORGOTTEN_S: Final = 3600
"""One that has not said so for so long is not named any more."""

# Clocks
CLOCK_SKEW_S_MAX: Final = 60
"""How far a clock may be off its neighbour's before somebody is told."""
CLOCK_JUMP_S_MIN: Final = 2
"""From there on two clocks of one host differ by a jump, not by the time between two looks at them."""
