"""In which order rows of ``jobs`` are locked, so that nobody waits for somebody who waits for him.

Whoever wants several rows at once takes :data:`JOBS_BY_ID`, then the rows in the order of their ids; whoever comes to one row
after the other, as a trigger does that overtakes older ones, takes :data:`JOBS` before the first. Claims and the reaper pass
over rows that somebody else has locked: they wait for none. Events are written after all that (``events.py``).
"""

from __future__ import annotations

from typing import Final

from fleetcast.stores.locks import Lock

CLAIMS: Final = Lock(0x636C61696D)
"""First of all in a claim, so that no two claims look at what runs before either has committed."""
JOBS: Final = Lock(0x6A6F6273)
JOBS_BY_ID: Final = Lock(JOBS.number, shared=True)
"""Among themselves they do not wait."""
