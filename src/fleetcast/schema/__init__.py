"""The tables, and the migrations that bring a database to them."""

from fleetcast.schema.upgrade import migrate

__all__ = ["migrate"]
