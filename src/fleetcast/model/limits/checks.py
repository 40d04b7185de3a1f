"""Outside checks: what is asked while a wave bakes."""

from __future__ import annotations

from typing import Final

from fleetcast.model.limits.units import KIB

# Outside checks
CHECKS_MAX: Final = 10
"""Of one stage."""
CHECK_EVERY_S_MIN: Final = 5
CHECK_EVERY_S_MAX: Final = 3600
"""Bounds of how often one is asked."""
CHECK_FAILURES_MAX: Final = 100
"""In a row, of which a plan may say that they make a release sick."""
CHECK_S_MAX: Final = 30
"""How long an answer may take; a command is killed then."""
CHECK_WAIT_S_MAX: Final = 600
"""A wave that has baked, and of which a check could not say for so long that it is well, has FAILED."""
CHECK_LEASE_S: Final = 90
"""How long a control process's claim on a check lives: another asks after that."""
CHECK_TURN_INTERVAL_S: Final = 1
"""How often control sees which checks are due."""
CHECKS_AT_ONCE_MAX: Final = 16
"""That one control process asks at a time."""
CHECK_TEXT_CHARS_MAX: Final = 2000
"""Of an address, a query, or a word of a command."""
CHECK_WORDS_MAX: Final = 50
"""Of a command."""
CHECK_FIELDS_MAX: Final = 20
"""Of an answer that a check looks at."""
CHECK_OUTPUT_BYTES_MAX: Final = 4 * KIB
"""Of what a command says that is kept."""
CHECK_ANSWER_BYTES_MAX: Final = 256 * KIB
"""Of an answer that is read."""
