"""What is kept of artifacts, and for how long; in part the defaults of settings."""

from __future__ import annotations

from typing import Final

from fleetcast.model.limits.units import TIB

# Artifacts that nobody needs (defaults of settings)
MAIN_RETENTION_DAYS: Final = 30
MAIN_RETENTION_COUNT: Final = 50
"""Of one service, beside those that are needed."""
MAIN_RETENTION_BYTES: Final = 2 * TIB
REGION_RETENTION_DAYS: Final = 7
REGION_RETENTION_COUNT: Final = 10
"""Of one service, beside those that are needed."""
REGION_RETENTION_BYTES: Final = 1 * TIB
"""In each bucket."""
RETENTION_GRACE_S: Final = 24 * 3600
"""What was built or deployed so lately stays whatever the bounds are."""
RETENTION_INTERVAL_S: Final = 600
COLLECTED_AT_ONCE_MAX: Final = 20
"""Artifacts about which one transaction decides."""
COLLECTED_IN_ONE_TURN_MAX: Final = 1000
COLLECTING_INTERVAL_S: Final = 5
"""How often control goes on with what is being collected."""
RECORD_AGAIN_S: Final = 3600
"""For so long after it was taken away control looks whether a record is back: a process may have been stopped meanwhile."""
SURPLUS_ASKED_MAX: Final = 500
"""Copies without a record that a region asks about at a time."""
SURPLUS_INTERVAL_S: Final = 60
"""How often a region looks for copies without a record, beside when one has vanished."""
SURPLUS_RETRY_S: Final = 1
"""After a record has vanished control may not be done with it: asked again after this, doubling up to the interval."""
