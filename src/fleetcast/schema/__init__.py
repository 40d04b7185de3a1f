"""The tables, and the migrations that bring a database to them."""

from fleetcast.schema import copy_tables as _copy_tables  # noqa: F401 -- so that whoever has some tables has all of them
from fleetcast.schema import environment_tables as _environment_tables  # noqa: F401 -- likewise
from fleetcast.schema import installation_tables as _installation_tables  # noqa: F401 -- likewise
from fleetcast.schema import machine_tables as _machine_tables  # noqa: F401 -- likewise
from fleetcast.schema import push_tables as _push_tables  # noqa: F401 -- likewise
from fleetcast.schema import region_tables as _region_tables  # noqa: F401 -- likewise
from fleetcast.schema import rollout_tables as _rollout_tables  # noqa: F401 -- likewise
from fleetcast.schema import webhook_tables as _webhook_tables  # noqa: F401 -- likewise
from fleetcast.schema.upgrade import migrate

__all__ = ["migrate"]
