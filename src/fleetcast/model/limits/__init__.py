"""Every bound, with its unit in its name: a file for each part of the system, all of them to be imported from here.

What an operator may choose (intervals, deadlines) is in ``launch/settings.py``, with the defaults from here. Relations between
bounds are asserted in ``relations.py``.
"""

from __future__ import annotations

from fleetcast.model.limits import relations as relations
from fleetcast.model.limits.artifacts import *
from fleetcast.model.limits.backups import *
from fleetcast.model.limits.builds import *
from fleetcast.model.limits.checks import *
from fleetcast.model.limits.fleet import *
from fleetcast.model.limits.holds import *
from fleetcast.model.limits.http import *
from fleetcast.model.limits.machines import *
from fleetcast.model.limits.processes import *
from fleetcast.model.limits.pushes import *
from fleetcast.model.limits.retention import *
from fleetcast.model.limits.stores import *
from fleetcast.model.limits.swarm import *
from fleetcast.model.limits.units import *
from fleetcast.model.limits.webhooks import *
