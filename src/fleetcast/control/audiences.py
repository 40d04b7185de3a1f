"""Who may call which of control's routes, as guards for a handler."""

from __future__ import annotations

from typing import Final

from fleetcast.http.auth import allow
from fleetcast.http.tokens import Role

PEOPLE: Final = [allow(Role.ADMIN)]
WORKERS: Final = [allow(Role.WORKER)]
PEOPLE_AND_WORKERS: Final = [allow(Role.ADMIN, Role.WORKER)]
REGIONS: Final = [allow(Role.REGION)]
