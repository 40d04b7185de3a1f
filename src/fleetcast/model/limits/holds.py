"""What keeps deployments back: freezes and approvals."""

from __future__ import annotations

from typing import Final

# Freezes and approvals
HOLD_S_MAX: Final = 7 * 24 * 3600
"""A deployment that a freeze, or approvals that are missing, held back for so long is FAILED: machines keep what they run."""
FREEZES_MAX: Final = 50
"""Of one plan, and of the whole company."""
FREEZE_SERVICES_MAX: Final = 500
"""Services that one freeze names."""
FREEZE_REASON_CHARS_MAX: Final = 200
"""Also of what is said when one is overridden, or a deployment refused."""
FREEZE_LOOK_S: Final = 14 * 24 * 3600
"""How far ahead control looks for the end of a freeze."""
APPROVALS_MAX: Final = 10
"""People who have to approve one step."""
