"""The S3 server of :mod:`fleetcast.cli.demo.engines.swift`, under the name by which the lab"s users know it."""

from __future__ import annotations

from fleetcast.cli.demo.engines.swift import SECRET, USER, SwiftServer, swift_server

__all__ = ["SECRET", "USER", "SwiftServer", "swift_server"]
