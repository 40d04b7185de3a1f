"""The PostgreSQL server of :mod:`fleetcast.cli.demo.engines.postgres`, under the name by which the lab"s users know it."""

from __future__ import annotations

from fleetcast.cli.demo.engines.postgres import OWNER, PASSWORD, PostgresServer, postgres_server

__all__ = ["OWNER", "PASSWORD", "PostgresServer", "postgres_server"]
